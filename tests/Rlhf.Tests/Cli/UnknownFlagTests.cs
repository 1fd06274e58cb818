using System.CommandLine;
using Rlhf.Cli;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;

namespace Rlhf.Tests.Cli;

/// <summary>Mistyped flags are never taken for prompts, files or values.</summary>
public sealed class UnknownFlagTests
{
    [Theory]
    [InlineData("generate hi --temprature 0.5", "--temprature", "--temperature")]
    [InlineData("generate hi --temprature=0.5", "--temprature", "--temperature")]
    [InlineData("generate --sampels 3 hi", "--sampels", "--samples")]
    [InlineData("generate hi -temperature 0.5", "-temperature", "--temperature")]
    [InlineData("generate hi \u2013temperature 0.5", "\u2013temperature", "--temperature")]
    [InlineData("generate --prompts --temprature 0.5", "--temprature", "--temperature")]
    [InlineData("hub download org/name --revison main", "--revison", "--revision")]
    [InlineData("hub push folder org/name --privat", "--privat", "--private")]
    [InlineData("hub push folder --privat org/name", "--privat", "--private")]
    [InlineData("report runs/a --pgn charts", "--pgn", "--png")]
    [InlineData("ppo --run-name --stpes 5", "--stpes", "--steps")]
    [InlineData("sft --resume --batchsize 4", "--batchsize", "--batch-size")]
    public void A_mistyped_flag_is_refused_with_the_nearest_name(string line, string flag, string nearest)
    {
        var (code, error) = Run(line.Split(' '));
        Assert.Equal(2, code);
        Assert.Contains($"rlhf: unknown flag '{flag}'; did you mean '{nearest}'? See rlhf ", error, StringComparison.Ordinal);
        Assert.DoesNotContain("belongs to no flag", error, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_verb_refuses_a_flag_that_it_does_not_know()
    {
        foreach (var verb in Verbs(CommandLine.Create()))
        {
            string[] words = [.. Words(verb), .. verb.Arguments.Select(_ => "word"), "--no-such-flag-at-all", "x"];
            var (code, error) = Run(words);
            Assert.Equal(2, code);
            Assert.StartsWith("rlhf: unknown flag '--no-such-flag-at-all'. See rlhf " + string.Join(' ', Words(verb)) + " --help.",
                error, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("--temprature", "--", "--temprature")]
    [InlineData("-x", "--", "-x")]
    public void Behind_two_dashes_everything_is_text(string word, params string[] line)
    {
        var root = CommandLine.Create();
        string[] words = ["generate", .. line];
        var generate = root.Subcommands.Single(c => c.Name == "generate");
        Assert.Empty(UnknownFlags.In(words, generate));
        Assert.Equal<string>([word], root.Parse(words).GetValue((Argument<string[]>)generate.Arguments.Single()) ?? []);
    }

    [Theory]
    [InlineData("- said the dog")]
    [InlineData("-- and then")]
    [InlineData("-5 degrees")]
    [InlineData("-5")]
    [InlineData("\u2014Hola")]
    [InlineData("-")]
    public void Text_that_no_flag_looks_like_is_text(string prompt) =>
        Assert.Empty(UnknownFlags.In(["generate", prompt, "--min-length", "-1", "--save", "-out"], Generate()));

    private static Command Generate() => CommandLine.Create().Subcommands.Single(c => c.Name == "generate");

    private static IEnumerable<VerbCommand> Verbs(Command command) =>
        command.Subcommands.SelectMany(c => c is VerbCommand verb ? [verb] : Verbs(c));

    private static string[] Words(Command verb) => HelpPage.FullName(verb).Split(' ')[1..];

    private static (int Code, string Error) Run(string[] words)
    {
        using var folder = new Fixtures.TemporaryFolder();
        var result = RlhfCommand.Run(folder.Path, words);
        Assert.Equal("", result.Output);
        return (result.ExitCode, result.Error);
    }
}
