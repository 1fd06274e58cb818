using System.Text.RegularExpressions;
using Rlhf.Cli;
using Rlhf.Cli.Flags;
using Rlhf.Data;

namespace Rlhf.Tests.Data;

/// <summary>Preference pairs in the columns that published data sets have, and advice that can be followed.</summary>
public sealed partial class PairColumnTests : IDisposable
{
    private static readonly PreferencePair Pair = new("q", "good", "bad");

    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private PreferencePair[] Load(string name, string content, PreferenceReadOptions? options = null)
    {
        string path = Path.Combine(folder.Path, name);
        File.WriteAllText(path, content);
        return [.. PreferenceDataset.Load(path, options)];
    }

    [Theory]
    [InlineData("prompt,chosen,rejected", "q,good,bad")]
    [InlineData("question,response_j,response_k", "q,good,bad")]
    [InlineData("instruction,rejected_response,chosen_response", "q,bad,good")]
    [InlineData("prompt,answer_0,answer_1,label", "q,good,bad,0")]
    [InlineData("prompt,answer_0,answer_1,label", "q,bad,good,1")]
    [InlineData("prompt,response_0,response_1,better_response_id", "q,bad,good,1")]
    [InlineData("prompt,answer1,answer2,choice", "q,good,bad,left")]
    [InlineData("prompt,answer1,answer2,choice", "q,bad,good,2")]
    [InlineData("prompt,answer1,answer2,choice", "q,bad,good,answer2")]
    [InlineData("prompt,response_a,response_b,winner", "q,bad,good,model_b")]
    [InlineData("prompt,response_a,response_b,winner", "q,good,bad,A")]
    public void Usual_columns_are_understood(string header, string row) => Assert.Equal([Pair], Load("a.csv", $"{header}\n{row}\n"));

    [Fact]
    public void Rows_without_a_preference_are_left_out() => Assert.Equal([Pair], Load("a.csv",
        "prompt,response_a,response_b,winner\nq,x,y,tie\nq,good,bad,a\nq,x,y,\n"));

    [Fact]
    public void A_judgment_that_says_nothing_is_an_error() => Assert.EndsWith(
        "line 2: \"perhaps\" does not say which of the two answers is better; write a or b, or tie where neither is.",
        Assert.Throws<InvalidDataException>(() => Load("a.csv", "prompt,response_a,response_b,winner\nq,x,y,perhaps\n")).Message);

    [Fact]
    public void Columns_can_be_chosen()
    {
        Assert.Equal([Pair], Load("a.jsonl", """{"ask":"q","win":"good","lose":"bad","chosen":1}""",
            new() { PromptColumn = "ask", ChosenColumn = "win", RejectedColumn = "lose" }));
        Assert.Contains("Choose the column that holds the chosen answer with ChosenColumn, or rename it to chosen.",
            Assert.Throws<InvalidDataException>(() => Load("b.jsonl", """{"ask":"q","win":"good","lose":"bad"}""")).Message);
    }

    [Fact]
    public void Settings_that_messages_name_are_flags_of_the_commands_that_read_these_data()
    {
        var pairs = typeof(PairColumnFlags).GetProperties().Select(p => p.Name).ToHashSet();
        Assert.All(PairColumns.Of(new()).Select(c => c.Setting).OfType<string>(), setting => Assert.Contains(setting, pairs));
        var texts = typeof(DatasetFlags).GetProperties().Select(p => p.Name).ToHashSet();
        Assert.All([nameof(ReviewReadOptions.TextColumn), nameof(ReviewReadOptions.LabelColumn), nameof(ReviewReadOptions.Split)],
            setting => Assert.Contains(setting, texts));
    }

    [Fact]
    public void Every_flag_that_a_message_names_exists()
    {
        var root = CommandLine.Create();
        HashSet<string> flags = [.. All(root).SelectMany(command => command.Options).Select(option => option.Name)];
        string source = Path.Combine(Fixtures.Repository(), "src");
        // Pages of the report and the studio have style sheets, whose properties look like flags.
        foreach (string file in Directory.EnumerateFiles(source, "*.cs", SearchOption.AllDirectories)
            .Where(file => !file.Contains("Reporting", StringComparison.Ordinal) && !file.Contains("Rlhf.Studio", StringComparison.Ordinal)))
            foreach (Match text in Text().Matches(Comment().Replace(File.ReadAllText(file), "")))
                foreach (Match flag in Flag().Matches(text.Value))
                    Assert.True(flags.Contains(flag.Value) || OfOthers.Contains(flag.Value), $"{file} names {flag.Value}, which no command has.");
    }

    /// <summary>Flags of other programs that messages may name.</summary>
    private static readonly string[] OfOthers = ["--version", "--no-build", "--add-source", "--global"];

    private static IEnumerable<System.CommandLine.Command> All(System.CommandLine.Command command) =>
        command.Subcommands.SelectMany(All).Prepend(command);

    [GeneratedRegex("\"(?:[^\"\\\\\\n]|\\\\.)*\"")]
    private static partial Regex Text();

    [GeneratedRegex(@"^\s*//.*$", RegexOptions.Multiline)]
    private static partial Regex Comment();

    [GeneratedRegex(@"(?<![\w-])--[a-z][a-z0-9-]+[a-z0-9]")]
    private static partial Regex Flag();
}
