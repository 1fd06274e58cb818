using System.CommandLine;
using System.Text;
using Rlhf.Cli;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;

namespace Rlhf.Tests.Docs;

/// <summary>docs/options.md is made from the settings that the verbs bind.</summary>
public sealed class OptionReferenceTests
{
    [Fact]
    public void The_option_reference_says_what_the_verbs_take() => WrittenFile.Check(Reference(), "docs", "options.md");

    private static string Reference()
    {
        var verbs = Verbs(CommandLine.Create()).ToArray();
        var text = new StringBuilder("""
            # Options

            Every setting of every command, as the program itself has them: this page is written by
            [a test](../tests/Rlhf.Tests/Docs/OptionReferenceTests.cs). [`configuration.md`](configuration.md) explains how flags, files and
            presets go together; `rlhf COMMAND --help` shows the same in a terminal. Every command also takes


            """.ReplaceLineEndings("\n"));
        text.Append("| Flag | |\n|---|---|\n");
        foreach (var option in verbs[0].CommonOptions)
            text.Append($"| `{$"{option.Name} {option.HelpName}".Trim()}` | {Cell(option.Description ?? "")} |\n");
        var links = verbs.Select(verb => $"[`{HelpPage.FullName(verb)}`](#{Anchor(verb)})");
        text.Append("\nCommands: ").AppendJoin(", ", links).Append(".\n");
        foreach (var verb in verbs)
            Append(text, verb);
        return text.ToString();
    }

    private static void Append(StringBuilder text, VerbCommand verb)
    {
        text.Append($"\n## {HelpPage.FullName(verb)}\n\nThis command {verb.Description}\n\n```sh\n");
        foreach (var example in verb.Examples)
            text.Append(example).Append('\n');
        text.Append("```\n");
        foreach (var argument in verb.Arguments)
            text.Append($"\n`{argument.Name}`: {argument.Description}\n");
        var shipped = verb.ShippedSettings();
        foreach (var section in verb.Settings.Settings.GroupBy(s => s.Section))
        {
            text.Append($"\n**{section.Key}**\n\n| Flag | Key in a file | Value | Default | |\n|---|---|---|---|---|\n");
            foreach (var s in section)
                text.Append($"| `{s.Flag}` | `{s.Key}` | {Value(s)} | {Default(s, shipped)} | {Cell(s.Help)} |\n");
        }
    }

    private static IEnumerable<VerbCommand> Verbs(Command command) =>
        command.Subcommands.SelectMany(c => c is VerbCommand verb ? [verb] : Verbs(c));

    private static string Anchor(VerbCommand verb) => HelpPage.FullName(verb).Replace(' ', '-');

    private static string Value(Setting setting) => setting.ValueType.IsEnum
        ? string.Join(", ", setting.ValueName.Split('|').Select(v => $"`{v}`")) : Cell(setting.ValueName);

    private static string Default(Setting setting, SettingsLayer? shipped) =>
        string.Join("; ", HelpPage.Default(setting, shipped).Split("; ", StringSplitOptions.RemoveEmptyEntries)
            .Select(part => part.Split(' ', 2)).Select(part => $"`{part[0]}`{(part.Length > 1 ? " " + part[1] : "")}"));

    private static string Cell(string text) => text.Replace("|", "\\|").Replace("<", "&lt;").Replace("*", "\\*");
}
