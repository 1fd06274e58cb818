using System.Formats.Tar;
using System.IO.Compression;
using System.Text;
using Rlhf.Data;

namespace Rlhf.Tests.Data;

public sealed class AclImdbTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private string Archive(Action<TarWriter> fill, TarEntryFormat format = TarEntryFormat.Pax)
    {
        var path = Path.Combine(folder.Path, $"{Guid.NewGuid():N}.tar.gz");
        using var gzip = new GZipStream(File.Create(path), CompressionLevel.Fastest);
        using var tar = new TarWriter(gzip, format);
        fill(tar);
        return path;
    }

    private static void Add(TarWriter tar, string name, string text)
    {
        TarEntry entry = tar.Format switch
        {
            TarEntryFormat.Gnu => new GnuTarEntry(TarEntryType.RegularFile, name),
            TarEntryFormat.Ustar => new UstarTarEntry(TarEntryType.RegularFile, name),
            TarEntryFormat.V7 => new V7TarEntry(TarEntryType.V7RegularFile, name),
            _ => new PaxTarEntry(TarEntryType.RegularFile, name),
        };
        entry.DataStream = new MemoryStream(Encoding.UTF8.GetBytes(text));
        tar.WriteEntry(entry);
    }

    private static string Refused(string path, ReviewReadOptions? options = null) =>
        Assert.Throws<InvalidDataException>(() => ReviewDataset.Load(path, options)).Message;

    [Fact]
    public void ArchiveAndFolderHoldTheSameReviews()
    {
        var archive = Fixtures.Shared("data", "aclImdb_sample.tar.gz");
        using (var gzip = new GZipStream(File.OpenRead(archive), CompressionMode.Decompress))
            TarFile.ExtractToDirectory(gzip, folder.Path, overwriteFiles: false);
        foreach (var split in new[] { "train", "test", "unsup" })
        {
            var options = new ReviewReadOptions { Split = split };
            var streamed = ReviewDataset.Load(archive, options);
            Assert.Equal(split == "unsup" ? 100 : 200, streamed.Count);
            Assert.Equal(split == "unsup" ? 100 : 0, streamed.Count(r => r.Label is null));
            Assert.Equal(split == "unsup" ? 0 : 100, streamed.Count(r => r.Label == 1));
            foreach (var root in new[] { folder.Path, Path.Combine(folder.Path, "aclImdb") })
                Assert.Equal(streamed.OrderBy(r => r.Text, StringComparer.Ordinal),
                    ReviewDataset.Load(root, options).OrderBy(r => r.Text, StringComparer.Ordinal));
        }
        Assert.Equal(ReviewDataset.Load(archive).Count, ReviewDataset.Load(archive, new() { Split = "train" }).Count);
        Assert.Equal(200, ReviewDataset.Load(Path.Combine(folder.Path, "aclImdb", "test")).Count);
        Assert.Equal([0, 1], ReviewDataset.Load(folder.Path).Chunk(100).Select(c => c[0].Label!.Value));
    }

    [Theory]
    [InlineData(TarEntryFormat.V7)]
    [InlineData(TarEntryFormat.Ustar)]
    [InlineData(TarEntryFormat.Pax)]
    [InlineData(TarEntryFormat.Gnu)]
    public void EveryTarFormatIsRead(TarEntryFormat format)
    {
        var path = Archive(tar =>
        {
            Add(tar, "aclImdb/train/pos/1_10.txt", "good \u00e9");
            Add(tar, "aclImdb/train/urls_pos.txt", new string('u', 3000));
            Add(tar, "aclImdb/train/neg/2_1.txt", "");
            if (format != TarEntryFormat.V7)
                Add(tar, new string('d', 90) + "/train/neg/3_1.txt", "long name"); // 106 characters
        }, format);
        Assert.Equal(
            format == TarEntryFormat.V7 ? [("good \u00e9", 1), ("", 0)] : [("good \u00e9", 1), ("", 0), ("long name", 0)],
            ReviewDataset.Load(path).Select(r => (r.Text, r.Label!.Value)));
    }

    [Fact]
    public void LinksAndPathsThatLeadOutsideAreIgnored()
    {
        var path = Archive(tar =>
        {
            tar.WriteEntry(new PaxTarEntry(TarEntryType.SymbolicLink, "aclImdb/train/pos/1_9.txt") { LinkName = "/etc/passwd" });
            tar.WriteEntry(new PaxTarEntry(TarEntryType.HardLink, "aclImdb/train/pos/2_9.txt") { LinkName = "../../x" });
            Add(tar, "../train/pos/3_9.txt", "outside");
            Add(tar, "/train/pos/4_9.txt", "root");
            Add(tar, "aclImdb/../train/pos/5_9.txt", "outside");
            Add(tar, "aclImdb/train/pos/6_9.txt", "inside");
        });
        Assert.Equal([new Review("inside", 1)], ReviewDataset.Load(path));
    }

    [Fact]
    public void SizesAreLimited()
    {
        var path = Archive(tar => Add(tar, "aclImdb/train/pos/1_9.txt", new string('x', 100_000)));
        Assert.Contains("1_9.txt", Refused(path, new ReviewReadOptions { MaxTextLength = 99_999 }));
        Assert.Contains("unpacks to more", Refused(path, new ReviewReadOptions { MaxArchiveBytes = 50_000 }));
        Assert.Single(ReviewDataset.Load(path));
        // A header that claims an enormous extended header must not be believed.
        var huge = Archive(tar => tar.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, "x",
            [new("comment", new string('c', 100_000))])));
        Assert.Contains("are more than", Refused(huge));
    }

    [Fact]
    public void DamagedArchivesAreRefused()
    {
        var path = Archive(tar =>
        {
            for (int i = 0; i < 50; i++)
                Add(tar, $"aclImdb/train/pos/{i}_9.txt",
                    string.Concat(Enumerable.Range(0, 500).Select(j => (char)('a' + j * i % 23))));
        });
        var bytes = File.ReadAllBytes(path);
        File.WriteAllBytes(path, bytes[..(bytes.Length / 2)]);
        Assert.Contains("not a whole tar archive", Refused(path));
        File.WriteAllText(path, "not compressed at all");
        Assert.Contains("not a whole tar archive", Refused(path));
        var other = Path.Combine(folder.Path, "a.tar");
        File.WriteAllBytes(other, Encoding.ASCII.GetBytes(new string('x', 2048)));
        Assert.Contains("no tar header at byte 0", Refused(other));
        Assert.Contains("no reviews of the split", Assert.Throws<ArgumentException>(
            () => ReviewDataset.Load(Archive(tar => Add(tar, "a.txt", "x")))).Message);
    }

    [Fact]
    public void AnyChangedByteGivesReviewsOrInvalidDataException()
    {
        var plain = Path.Combine(folder.Path, "a.tar");
        using (var tar = new TarWriter(File.Create(plain), TarEntryFormat.Pax))
            for (int i = 0; i < 3; i++)
                Add(tar, $"aclImdb/train/pos/{i}_9.txt", $"text {i}");
        var bytes = File.ReadAllBytes(plain);
        var random = new Random(1);
        for (int i = 0; i < 300; i++)
        {
            var changed = (byte[])bytes.Clone();
            changed[random.Next(changed.Length)] = (byte)random.Next(256);
            File.WriteAllBytes(plain, changed[..random.Next(1, changed.Length + 1)]);
            var error = Record.Exception(() => ReviewDataset.Load(plain));
            Assert.True(error is null or InvalidDataException or ArgumentException, error?.ToString());
        }
    }
}
