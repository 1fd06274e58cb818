using System.Text;
using Rlhf.Studio.Files;
using Rlhf.Tests;
using Rlhf.Tracking;

namespace Rlhf.Studio.Tests;

public sealed class LineTailTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();
    private readonly string path;
    private readonly LineTail tail;
    private readonly List<string> lines = [];
    private readonly List<long> offsets = [];
    private int restarts;

    public LineTailTests()
    {
        path = Path.Combine(folder.Path, "lines");
        tail = new(() => File.Exists(path) ? new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1) : null);
    }

    [Fact]
    public void OnlyWhatIsNewIsReadAndHalfALineWaits()
    {
        Assert.False(Read());
        File.WriteAllText(path, "one\ntwo\nthr");
        Assert.True(Read());
        Assert.Equal(["one", "two"], lines);
        Assert.False(Read());
        File.AppendAllText(path, "ee\n\nfour\n");
        Assert.True(Read());
        Assert.Equal(["one", "two", "three", "four"], lines);
        Assert.Equal([0, 4, 8, 15], offsets);
        Assert.Equal(0, restarts);
    }

    [Fact]
    public void AFileThatWasCutIsReadAgain()
    {
        File.WriteAllText(path, "one\ntwo\nthree\n");
        Read();
        File.WriteAllText(path, "one\n");
        Read();
        Assert.Equal(["one"], lines);
        Assert.Equal(1, restarts);
    }

    [Fact]
    public void AFileThatWasReplacedAndIsLongerAlreadyIsReadAgain()
    {
        File.WriteAllText(path, "one\ntwo\nthree\n");
        Read();
        File.WriteAllText(path, "one\nother\nthings\nthat\nare\nlonger\n");
        Read();
        Assert.Equal(["one", "other", "things", "that", "are", "longer"], lines);
        Assert.Equal(1, restarts);
    }

    [Fact]
    public void AFileThatWasDeletedHasNoLines()
    {
        File.WriteAllText(path, "one\n");
        Read();
        File.Delete(path);
        Assert.True(Read());
        Assert.Empty(lines);
        Assert.False(Read());
    }

    [Fact]
    public void LongLinesAreReadAndEndlessOnesSkipped()
    {
        string longLine = new('x', 700_000), endless = new('y', JsonlFile.LongestLine + 100);
        File.WriteAllText(path, $"a\n{longLine}\n{endless}\nb\n");
        Read();
        Assert.Equal(["a", longLine, "b"], lines);
    }

    [Fact]
    public void CharactersThatAreSplitBetweenTwoReadsStayWhole()
    {
        byte[] bytes = Encoding.UTF8.GetBytes("schön 🙂\n");
        for (int i = 0; i < bytes.Length; i++)
        {
            using (var file = new FileStream(path, FileMode.Append))
                file.WriteByte(bytes[i]);
            Read();
        }
        Assert.Equal(["schön 🙂"], lines);
    }

    public void Dispose() => folder.Dispose();

    private bool Read() => tail.Read((offset, line) =>
    {
        offsets.Add(offset);
        lines.Add(Encoding.UTF8.GetString(line));
    }, () =>
    {
        restarts++;
        lines.Clear();
        offsets.Clear();
    });
}
