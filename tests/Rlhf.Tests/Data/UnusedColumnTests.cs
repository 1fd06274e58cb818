using System.Text.Json.Nodes;
using Rlhf.Cli.Verbs;
using Rlhf.Data;
using Rlhf.Rewards;
using Rlhf.Runtime;

namespace Rlhf.Tests.Data;

/// <summary>What is not used is not read, what is kept stays as it was, and names of classes are understood where they are known.</summary>
public sealed class UnusedColumnTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private string Write(string name, string content)
    {
        string path = Path.Combine(folder.Path, name);
        File.WriteAllText(path, content);
        return path;
    }

    [Theory]
    [InlineData("a.csv", "text,label\nx,local\n")]
    [InlineData("a.jsonl", "{\"text\":\"x\",\"label\":4.5}")]
    [InlineData("a.jsonl", "{\"text\":\"x\",\"label\":[{\"start\":0}],\"other\":{\"a\":[]}}")]
    [InlineData("a.jsonl", "{\"text\":\"x\",\"label\":NaN,\"weight\":-Infinity}")]
    [InlineData("a.jsonl", "{\"note\":\"NaN \\\" Infinity\",\"text\":\"x\",\"score\":Infinity}")]
    public void Labels_that_nobody_asked_for_may_be_anything(string name, string content)
    {
        string path = Write(name, content);
        Assert.Equal([new Review("x", null)], ReviewDataset.Load(path, new() { ReadsLabels = false }));
    }

    [Fact]
    public void A_value_that_is_used_is_json()
    {
        string path = Write("a.jsonl", "{\"text\":\"x\",\"label\":NaN}");
        Assert.Equal($"{path}, line 1: \"label\" is NaN, which is not JSON; write null or a number.",
            Assert.Throws<InvalidDataException>(() => ReviewDataset.Load(path)).Message);
        path = Write("b.jsonl", "{\"text\":\"x\",\"label\":NaN,}");
        Assert.Contains("not a JSON object on one line", Assert.Throws<InvalidDataException>(() => ReviewDataset.Load(path)).Message);
    }

    [Fact]
    public void Labels_are_not_chosen_where_none_are_read() => Assert.Contains("LabelColumn is given",
        Assert.Throws<ConfigurationException>(() => ReviewDataset.Load("a.csv", new() { ReadsLabels = false, LabelColumn = "label" })).Message);

    [Fact]
    public void Names_of_the_models_classes_are_understood()
    {
        string path = Write("a.csv", "text,label\na,Sports\nb,local\nc,2\nd,\n");
        Assert.Equal([2, 0, 2, null], ReviewDataset.Load(path, new() { LabelNames = ["local", "weather", "sports"] }).Select(r => r.Label));
        path = Write("b.csv", "text,label\na,positive\n");
        // Class 0 is the positive one: the word alone must not say 1.
        Assert.Equal([0], ReviewDataset.Load(path, new() { LabelNames = ["positive", "negative"] }).Select(r => r.Label));
        Assert.Equal([1], ReviewDataset.Load(path, new() { LabelNames = ["LABEL_0", "LABEL_1"] }).Select(r => r.Label));
        Assert.Contains("nor one of toxic, insult; correct it",
            Assert.Throws<InvalidDataException>(() => ReviewDataset.Load(path, new() { LabelNames = ["toxic", "insult"] })).Message);
    }

    [Fact]
    public void Classified_rows_keep_their_order_and_columns()
    {
        string path = Write("a.jsonl", "{\"id\":7,\"text\":\"one\",\"label\":\"x\",\"tags\":[1,{\"a\":null}]}\n{\"text\":\"two\",\"weight\":NaN}\n");
        var rows = ReviewDataset.StreamRows(path, new() { ReadsLabels = false }, keepsColumns: true).ToArray();
        Assert.Equal(["one", "two"], rows.Select(r => r.Review.Text));
        string[] lines = [.. rows.Select(r => ClassifyVerb.Line(r.Review, r.Columns, new LabelScore("GOOD", 0.75f)).ToJsonString())];
        Assert.Equal("""{"text":"one","id":7,"original_label":"x","tags":[1,{"a":null}],"label":"GOOD","score":0.75}""", lines[0]);
        Assert.Equal("""{"text":"two","weight":null,"label":"GOOD","score":0.75}""", lines[1]);

        path = Write("b.csv", "id,text,score\n7,one,0.1\n8,two,\n");
        var csv = ReviewDataset.StreamRows(path, new() { ReadsLabels = false }, keepsColumns: true)
            .Select(r => string.Join(";", r.Columns!.Select(c => $"{c.Key}={c.Value}"))).ToArray();
        Assert.Equal(["id=7;score=0.1", "id=8;score="], csv);
    }

    [Fact]
    public void Rows_that_are_drawn_may_stand_in_the_sources_order()
    {
        string path = Write("a.txt", string.Concat(Enumerable.Range(0, 50).Select(i => $"{i:00}\n")));
        string[] drawn = [.. ReviewDataset.Load(path, new() { ShuffleSeed = 3, Limit = 10, InSourceOrder = true }).Select(r => r.Text)];
        Assert.Equal(10, drawn.Distinct().Count());
        Assert.Equal(drawn.Order(), drawn);
        Assert.Equal(drawn.Order(), ReviewDataset.Load(path, new() { ShuffleSeed = 3, Limit = 10 }).Select(r => r.Text).Order());
    }
}
