using Rlhf.Data;

namespace Rlhf.Tests.Data;

public sealed class PairFileTests : IDisposable
{
    private static readonly ResponsePair First =
        new("one", "Der Film", " war \"gut\".\nSehr.", " war schlecht: <b>, ü, 🎬", "my-sft");
    private static readonly ResponsePair Second = new("two", "It", " is", " was");
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Unlabelled_pairs_come_back_as_they_were_written()
    {
        string file = Write([First, Second]);
        Assert.Equal([First, Second], PairFile.Load(file));
        Assert.Equal("""{"id":"two","prompt":"It","response_a":" is","response_b":" was"}""", File.ReadAllLines(file)[1]);
        Assert.Equal([file], Directory.GetFiles(folder.Path));
    }

    [Fact]
    public void A_labelled_file_is_a_preference_data_set()
    {
        string file = Path.Combine(folder.Path, "labelled.jsonl");
        PairFile.Save(file, [new LabeledPair(First, PairChoice.B, "judge", 0.25, 1.5), new LabeledPair(Second, PairChoice.A)]);
        Assert.Equal([new PreferencePair(First.Prompt, First.ResponseB, First.ResponseA), new("It", " is", " was")],
            PreferenceDataset.Load(file));
        Assert.Equal(
            """{"id":"two","prompt":"It","chosen":" is","rejected":" was","choice":"a"}""", File.ReadAllLines(file)[1]);
        Assert.EndsWith(""","choice":"b","labeler":"judge","score_chosen":1.5,"score_rejected":0.25,"model":"my-sft"}""",
            File.ReadAllLines(file)[0]);
    }

    [Fact]
    public void An_id_says_which_answers_are_compared_and_not_in_which_order()
    {
        string id = ResponsePair.IdOf("prompt", "a", "b");
        Assert.Matches("^[0-9a-f]{16}$", id);
        Assert.Equal(id, ResponsePair.IdOf("prompt", "b", "a"));
        Assert.NotEqual(id, ResponsePair.IdOf("prompt", "a", "c"));
        Assert.NotEqual(ResponsePair.IdOf("x", "ya", "z"), ResponsePair.IdOf("xy", "a", "z"));
        Assert.NotEqual(ResponsePair.IdOf("x", "ab", "c"), ResponsePair.IdOf("x", "a", "bc"));
    }

    [Theory]
    [InlineData("""{"prompt":"p","response_a":"x","response_b":"x"}""", "the same")]
    [InlineData("""{"prompt":"p","chosen":"x","rejected":"y"}""", "response_a")]
    [InlineData("""{"prompt":"p","response_a":"x","response_b":7}""", "not text")]
    [InlineData("""{"id":"one","prompt":"p","response_a":"x","response_b":"y"}""", "id one occurs a second time")]
    [InlineData("""["p"]""", "JSON object")]
    public void What_cannot_be_labelled_is_refused_with_its_line(string line, string problem)
    {
        string file = Write([First]);
        File.AppendAllText(file, line + "\n");
        var error = Assert.Throws<InvalidDataException>(() => PairFile.Load(file));
        Assert.Contains("line 2", error.Message);
        Assert.Contains(problem, error.Message);
    }

    [Fact]
    public void A_pair_without_an_id_gets_that_of_its_content()
    {
        string file = Path.Combine(folder.Path, "mine.csv");
        File.WriteAllText(file, "prompt,response_a,response_b\np,x,y\n");
        Assert.Equal([new ResponsePair(ResponsePair.IdOf("p", "x", "y"), "p", "x", "y")], PairFile.Load(file));
    }

    private string Write(ResponsePair[] pairs)
    {
        string file = Path.Combine(folder.Path, "pairs.jsonl");
        PairFile.Save(file, pairs);
        return file;
    }
}
