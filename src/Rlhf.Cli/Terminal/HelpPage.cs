using System.CommandLine;
using System.CommandLine.Invocation;
using Rlhf.Cli.Settings;
using Spectre.Console;

namespace Rlhf.Cli.Terminal;

/// <summary>Help in groups, with what each value is and its default.</summary>
internal sealed class HelpPage : SynchronousCommandLineAction
{
    public override bool ClearsParseErrors => true;

    public override int Invoke(ParseResult parseResult)
    {
        Write(parseResult.CommandResult.Command, Screen.CreateConsole(Console.Out));
        return ExitCode.Success;
    }

    public static void Write(Command command, IAnsiConsole console)
    {
        console.MarkupLine($"[bold]{Screen.Safe(FullName(command))}[/]  {Screen.Safe(command.Description ?? "")}");
        console.WriteLine();
        WriteUsage(command, console);
        if (command.Subcommands.Count > 0)
            WriteTable(console, "Commands", command.Subcommands.SelectMany(Verbs)
                .Select(v => ($"[teal]{v.Name}[/]", Screen.Safe(v.Command.Description ?? ""))));
        if (command is VerbCommand verb)
        {
            WriteExamples(verb.Examples, console);
            if (verb.Typed.Count > 0)
                WriteTable(console, "While it runs", verb.Typed.Select(t => ($"[teal]{Screen.Safe(t.Words)}[/]", Screen.Safe(t.Meaning))));
            if (verb.Arguments.Count > 0)
                WriteTable(console, "Arguments",
                    verb.Arguments.Select(a => ($"[teal]{Name(a)}[/]", Screen.Safe(a.Description ?? ""))));
            var shipped = verb.ShippedSettings();
            foreach (var section in verb.Settings.Settings.GroupBy(s => s.Section))
                WriteTable(console, section.Key, section.Select(setting => Row(setting, shipped)));
            WriteTable(console, "Common", verb.CommonOptions.Select(o => (OptionName(o), Screen.Safe(o.Description ?? ""))));
            console.MarkupLine("[grey]Each setting can also stand in a YAML file (--config), spelt with underscores: "
                + "learning_rate: 1e-5. Flags win.[/]");
            if (shipped is not null)
                console.MarkupLine($"[grey]A value comes from its flag; else from the file of --config; else from --preset; else, for the model "
                    + $"that ships, named or not, from {Screen.Safe(shipped.Name)}; else it is the default in brackets.[/]");
        }
        else
        {
            console.MarkupLine("[grey]rlhf COMMAND --help says more about each.[/]");
        }
    }

    private static IEnumerable<(string Name, Command Command)> Verbs(Command command) =>
        command.Subcommands.Count == 0 ? [(command.Name, command)]
            : command.Subcommands.Select(c => ($"{command.Name} {c.Name}", c));

    private static (string, string) Row(Setting setting, SettingsLayer? shipped) => (
        $"[teal]{setting.Flag}[/] [grey]{Screen.Safe(setting.ValueName)}[/]",
        Screen.Safe(setting.Help) + (Default(setting, shipped) is { Length: > 0 } value ? $" [grey]({Screen.Safe(value)})[/]" : ""));

    /// <summary>A setting's default, and what the model that ships has in its place; empty when it is unset.</summary>
    internal static string Default(Setting setting, SettingsLayer? shipped)
    {
        string value = setting.Default is null ? "" : SettingValue.Format(setting.Default);
        return shipped?.Entries.FirstOrDefault(e => Setting.Normalize(e.Key) == Setting.Normalize(setting.Key)) is { } entry
            ? $"{(value.Length == 0 ? "unset" : value)}; {entry.Value} with the model that ships" : value;
    }

    private static string OptionName(Option option) =>
        $"[teal]{option.Name}[/]" + (option.HelpName is { } value ? $" [grey]{Screen.Safe(value)}[/]" : "");

    private static void WriteUsage(Command command, IAnsiConsole console)
    {
        console.MarkupLine($"[grey]Usage[/]  {Screen.Safe(Usage(command))} {Screen.Safe("[settings]")}");
        console.WriteLine();
    }

    private static void WriteExamples(IReadOnlyList<string> examples, IAnsiConsole console)
    {
        console.MarkupLine(examples.Count == 1 ? "[bold]Example[/]" : "[bold]Examples[/]");
        foreach (var example in examples)
            console.WriteLine("  " + example);
        console.WriteLine();
    }

    private static void WriteTable(IAnsiConsole console, string title, IEnumerable<(string Left, string Right)> rows)
    {
        console.MarkupLine($"[bold]{Screen.Safe(title)}[/]");
        if (console.Profile.Width < ResultTable.NarrowestTable)
            foreach (var (left, right) in rows)
            {
                console.Write(new Padder(new Markup(left), new Padding(2, 0, 0, 0)));
                console.Write(new Padder(new Markup(right), new Padding(6, 0, 0, 0)));
            }
        else
        {
            var grid = new Grid().AddColumn(new GridColumn().PadLeft(2).PadRight(3).Width(38))
                .AddColumn(new GridColumn().PadRight(0));
            foreach (var (left, right) in rows)
                grid.AddRow(new Markup(left), new Markup(right));
            console.Write(grid);
        }
        console.WriteLine();
    }

    /// <summary>A command with its arguments: rlhf hub download ID [FILE ...].</summary>
    public static string Usage(Command command) => FullName(command) + (command.Subcommands.Count > 0 ? " COMMAND"
        : string.Concat(command.Arguments.Select(a => a.Arity.MinimumNumberOfValues > 0 ? $" {Name(a)}"
            : $" [{Name(a)}{(a.Arity.MaximumNumberOfValues > 1 ? " ..." : "")}]")));

    /// <summary>An argument as usage names it.</summary>
    public static string Name(Argument argument) => argument.Name.ToUpperInvariant();

    /// <summary>The words that call a command: rlhf tokenizer train.</summary>
    public static string FullName(Command command)
    {
        var names = new List<string>();
        for (Command? c = command; c is not null and not RootCommand; c = c.Parents.OfType<Command>().FirstOrDefault())
            names.Insert(0, c.Name);
        return string.Join(' ', ["rlhf", .. names]);
    }
}
