using System.Text;
using Rlhf.Data;
using Rlhf.Data.Files;
using Rlhf.Runtime;

namespace Rlhf.Tests.Data;

public sealed class ReviewDatasetTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private string Write(string name, string content, Encoding? encoding = null)
    {
        var path = Path.Combine(folder.Path, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, content, encoding ?? new UTF8Encoding(false));
        return path;
    }

    private static InvalidDataException Refused(string path, ReviewReadOptions? options = null) =>
        Assert.Throws<InvalidDataException>(() => ReviewDataset.Load(path, options));

    [Fact]
    public void CsvFollowsRfc4180()
    {
        var path = Write(
            "a.csv", "id,text,label\r\n1,\"He said \"\"hi\"\",\r\nand left\",1\r\n\r\n2,plain,0\n3,caf\u00e9 \U0001F600,-1\n4,,");
        Assert.Equal(
            [new("He said \"hi\",\r\nand left", 1), new("plain", 0), new("caf\u00e9 \U0001F600", null), new Review("", null)],
            ReviewDataset.Load(path));
    }

    [Fact]
    public void ByteOrderMarksAndOtherColumnNamesAreUnderstood()
    {
        var path = Write("kaggle.csv", "review,sentiment\n\"Good, very\",positive\nBad,negative\n", new UTF8Encoding(true));
        Review[] expected = [new("Good, very", 1), new("Bad", 0)];
        Assert.Equal(expected, ReviewDataset.Load(path));
        Assert.Equal(expected, ReviewDataset.Load(
            Write("utf16.csv", "review,sentiment\n\"Good, very\",positive\nBad,negative\n", Encoding.Unicode)));
        Assert.Equal(expected, ReviewDataset.Load(Write("a.tsv", "body\tstars\nGood, very\t1\nBad\t0\n"),
            new ReviewReadOptions { TextColumn = "body", LabelColumn = "stars" }));
    }

    [Fact]
    public void JsonLinesAndPlainText()
    {
        var json = Write("a.jsonl", "{\"text\":\"one\",\"label\":1}\r\n\n"
            + "{\"review\":\"tw\\u00f6\",\"label\":null,\"x\":[1]}\n{\"text\":\"three\",\"label\":true}");
        Assert.Equal([new("one", 1), new("tw\u00f6", null), new Review("three", 1)], ReviewDataset.Load(json));
        Assert.Equal([new("first, line", null), new Review(" second", null)],
            ReviewDataset.Load(Write("a.txt", "first, line\n\n  \n second")));
    }

    [Theory]
    [InlineData("a.csv", "text,label\nfine,1\nbad,maybe\n", "line 3", "maybe")]
    [InlineData("a.csv", "text,label\n\"two\nlines\",1\na,b,1\n", "line 4", "field")]
    [InlineData("a.csv", "text,label\nfine,1\n\"never closed,1\nmore,0\n", "line 3", "uot")]
    [InlineData("a.csv", "text,label\nsaid \"x\",1\n", "line 2", "uot")]
    [InlineData("a.csv", "body,label\nx,1\n", "no column", "\"body\", \"label\"")]
    [InlineData("a.csv", "", "empty", "name the columns")]
    [InlineData("a.jsonl", "{\"text\":\"x\"}\n{\"text\":\n", "line 2", "not a JSON object")]
    [InlineData("a.jsonl", "[{\"text\":\"x\"}]\n", "line 1", "JSON array")]
    [InlineData("a.jsonl", "{\"text\":\"x\"}\n{\"txt\":\"y\"}\n", "line 2", "\"txt\"")]
    [InlineData("a.jsonl", "{\"text\":null}\n", "line 1", "missing")]
    [InlineData("a.jsonl", "{\"text\":7}\n", "line 1", "not text")]
    [InlineData("a.jsonl", "{\"text\":[\"x\"]}\n", "line 1", "list")]
    [InlineData("a.jsonl", "{\"text\":\"x\",\"label\":-3}\n", "line 1", "-3")]
    [InlineData("a.jsonl", "{\"text\":\"x\",\"label\":1.5}\n", "line 1", "1.5")]
    [InlineData("a.jsonl", "{\"text\":\"\\ud800\"}\n", "line 1", "surrogate")]
    public void ABadRowNamesFileAndLine(string name, string content, string place, string reason)
    {
        var path = Write(name, content);
        var message = Refused(path).Message;
        Assert.Contains(path, message);
        Assert.Contains(place, message);
        Assert.Contains(reason, message);
    }

    [Fact]
    public void BytesThatAreNotUtf8AreRefused()
    {
        (string, string)[] files = [("a.csv", "text\nfine\n"), ("a.jsonl", "{\"text\":\"fine\"}\n"), ("a.txt", "fine\n")];
        foreach (var (name, head) in files)
        {
            var path = Path.Combine(folder.Path, name);
            File.WriteAllBytes(path, [.. Encoding.UTF8.GetBytes(head), 0x63, 0xe9, 0x0a]);
            Assert.Contains("not UTF-8", Refused(path).Message);
        }
    }

    [Fact]
    public void TextsBeyondTheLimitAreRefused()
    {
        var options = new ReviewReadOptions { MaxTextLength = 10 };
        foreach (var (name, content) in new[] { ("a.csv", "text\n{0}"), ("a.jsonl", "{{\"text\":\"{0}\"}}"), ("a.txt", "{0}") })
            Assert.Contains("accepted", Refused(Write(name, string.Format(content, "eleven char")), options).Message);
        var open = Write("quote.csv", "text,label\n\"" + string.Concat(Enumerable.Repeat("never closed\n", 300_000)));
        Assert.Contains(open, Refused(open, options).Message);
    }

    [Fact]
    public void FilterLimitShuffleAndLineBreaks()
    {
        var path = Write("a.txt", string.Join('\n', Enumerable.Range(0, 100).Select(i => $"text {i}<br /><br />end")));
        Assert.Equal(["text 10<br /><br />end", "text 11<br /><br />end"],
            ReviewDataset.Load(path, new ReviewReadOptions { LongerThan = 21, Limit = 2 }).Select(r => r.Text));
        Assert.Equal("text 0\n\nend", ReviewDataset.Load(path, new() { LineBreaks = HtmlLineBreaks.Newline })[0].Text);
        Assert.Equal("text 0 end", ReviewDataset.Load(path, new() { LineBreaks = HtmlLineBreaks.Space })[0].Text);
        var shuffled = ReviewDataset.Load(path, new ReviewReadOptions { ShuffleSeed = 1 });
        Assert.NotEqual(ReviewDataset.Load(path), shuffled);
        Assert.Equal(ReviewDataset.Load(path).Order(ByText), shuffled.Order(ByText));
        Assert.Equal(shuffled.Take(5), ReviewDataset.Load(path, new ReviewReadOptions { ShuffleSeed = 1, Limit = 5 }));
        Assert.Single(ReviewDataset.Load(path, new ReviewReadOptions { Filter = r => r.Text.StartsWith("text 42") }));
    }

    private static readonly Comparer<Review> ByText = Comparer<Review>.Create((a, b) => string.CompareOrdinal(a.Text, b.Text));

    [Fact]
    public void CharactersAreCodePoints()
    {
        var faces = string.Concat(Enumerable.Repeat("\U0001F600", 200));
        Assert.False(ReviewDataset.IsLongerThan(faces, 200));
        Assert.True(ReviewDataset.IsLongerThan(faces + "x", 200));
        Assert.False(ReviewDataset.IsLongerThan(new string('x', 200), 200));
        Assert.True(ReviewDataset.IsLongerThan(new string('x', 201), 200));
        Assert.False(ReviewDataset.IsLongerThan("", 0));
    }

    [Fact]
    public void FoldersPatternsAndSplits()
    {
        Write("d/train-1.jsonl", "{\"text\":\"b\"}");
        Write("d/train-0.jsonl", "{\"text\":\"a\"}");
        Write("d/test.jsonl", "{\"text\":\"c\"}");
        Write("d/README.md", "# data");
        var data = Path.Combine(folder.Path, "d");
        Assert.Equal(["a", "b"], Texts(data));
        Assert.Equal(["a", "b"], Texts(Path.Combine(data, "train-*.jsonl")));
        Assert.Equal(["a", "b", "c"], Texts(Path.Combine(data, "t*.jsonl"), "train").Concat(Texts(data, "test")));
        Assert.Contains("no split \"dev\"", Assert.Throws<ArgumentException>(() => Texts(data, "dev")).Message);
        Assert.Equal(["a"], Texts(Path.Combine(data, "train-0.jsonl"), "train"));
        Assert.Throws<ArgumentException>(() => Texts(Path.Combine(data, "train-0.jsonl"), "test"));
        Write("d/train.csv", "text\nx");
        Assert.Contains("several kinds", Assert.Throws<ArgumentException>(() => Texts(data)).Message);
    }

    private static string[] Texts(string path, string? split = null) =>
        [.. ReviewDataset.Load(path, new ReviewReadOptions { Split = split }).Select(r => r.Text)];

    [Fact]
    public void WhatCannotBeFoundOrMeantIsRefused()
    {
        Assert.Throws<FileNotFoundException>(() => ReviewDataset.Load(Path.Combine(folder.Path, "none.parquet")));
        Assert.Throws<FileNotFoundException>(() => ReviewDataset.Load(Path.Combine(folder.Path, "*.parquet")));
        Assert.Throws<FileNotFoundException>(() => ReviewDataset.Load(folder.Path));
        Assert.Throws<ArgumentException>(() => ReviewDataset.Load(Write("a.docx", "x")));
        Assert.Throws<ArgumentException>(() => ReviewDataset.Load(Write("a.txt", "x"), new() { LabelColumn = "label" }));
        var error = Assert.Throws<ConfigurationException>(
            () => ReviewDataset.Load("a.txt", new ReviewReadOptions { Limit = -1, LongerThan = -2 }));
        Assert.Equal(2, error.Problems.Count);
    }

    [Fact]
    public void Parts_share_no_row_and_are_everything_together()
    {
        string path = Write("texts.txt", string.Concat(Enumerable.Range(0, 11).Select(i => $"text {i}\n")));
        string[] Part(int number) => [.. ReviewDataset.Load(path, new ReviewReadOptions { Part = (number, 3) }).Select(r => r.Text)];
        Assert.Equal(["text 1", "text 4", "text 7", "text 10"], Part(2));
        Assert.Equal(11, Part(1).Union(Part(2)).Union(Part(3)).Count());
        Assert.Throws<ConfigurationException>(() => Part(4));
        Assert.Throws<ConfigurationException>(() => Part(0));
    }

    [Fact]
    public void LinesKeepTheirNumbersAcrossBuffers()
    {
        var lines = Enumerable.Range(0, 3000).Select(i => new string((char)('a' + i % 26), i % 97)).ToArray();
        var path = Write("long.txt", string.Join("\r\n", lines));
        Assert.Equal(lines.Select((line, i) => ((long)i + 1, line)), BoundedLines.Read(File.OpenRead(path), path, 100));
    }
}
