using System.CommandLine;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Models;
using Rlhf.Runs;
using Rlhf.Runtime.Text;

namespace Rlhf.Cli;

/// <summary>What a verb runs with.</summary>
/// <param name="Settings">The bound settings records.</param>
/// <param name="Screen">Where words and results go.</param>
/// <param name="Stop">Cancelled by Ctrl-C: stop after the current step and save.</param>
/// <param name="Command">The parsed command line, for arguments without a flag.</param>
internal sealed record VerbContext(
    BoundSettings Settings, Screen Screen, CancellationToken Stop, ParseResult Command)
{
    /// <summary>Takes Ctrl-C before <see cref="Stop"/> does, while it returns true; set by a verb that continues after it.</summary>
    public Action<Func<bool>> TakeInterrupts { get; init; } = _ => { };

    /// <summary>The kind of training that the verb is.</summary>
    /// <exception cref="InvalidOperationException">It does not train.</exception>
    public TrainingKind Kind => TrainingKinds.Find(Command.CommandResult.Command.Name)
        ?? throw new InvalidOperationException($"rlhf {Command.CommandResult.Command.Name} does not train.");

    /// <summary>What "--flag org/name" turned out to mean, for settings files: org/name@commit.</summary>
    public Dictionary<string, string> Pins { get; } = [];

    /// <summary>
    /// The command line as a shell takes it, for people elsewhere: of a path from the root, such as a home folder, the last part alone.
    /// </summary>
    public string CommandLine => string.Join(' ', Command.Tokens.Select(t => ShellWord.Of(WithoutFolders(t.Value))).Prepend("rlhf"));

    /// <summary>Rows of a printed plan: where the values of the settings come from.</summary>
    public IEnumerable<(string Name, string Value)> SettingsFacts() =>
        Settings.Sources().Select((from, i) => (i == 0 ? "settings" : "", $"{from.Source}: {from.Values}"));

    internal static string WithoutFolders(string word) => Path.IsPathRooted(word)
        && Path.GetFileName(Path.TrimEndingDirectorySeparator(word)) is { Length: > 0 } name ? name : word;
}

/// <summary>One verb of the command line.</summary>
internal sealed class VerbCommand : Command
{
    private readonly Option<string?> config = new("--config") { Description = "Settings from a YAML file.", HelpName = "FILE" };
    private readonly Func<ParseResult, string?>? defaultConfig;
    private readonly Func<BoundSettings, SettingsLayer?>? preset;
    private readonly Option<bool> json = new("--json") { Description = "Only JSON on standard output." };
    private readonly Option<bool> quiet = new("--quiet") { Description = "No words, only errors." };
    private readonly Option<bool> debug = new("--debug") { Description = "Show where an error happened." };

    /// <param name="name">The verb.</param>
    /// <param name="description">One sentence.</param>
    /// <param name="examples">Command lines that work.</param>
    /// <param name="settings">Its settings.</param>
    /// <param name="run">Does it; returns the exit code.</param>
    /// <param name="defaultConfig">Configuration file to use when none is named, or null.</param>
    /// <param name="preset">Settings that win over the defaults and over nothing else, chosen by other settings; null: none.</param>
    public VerbCommand(
        string name, string description, IReadOnlyList<string> examples, SettingsBinder settings, Func<VerbContext, int> run,
        Func<ParseResult, string?>? defaultConfig = null, Func<BoundSettings, SettingsLayer?>? preset = null)
        : base(name, description)
    {
        (Examples, Settings, this.defaultConfig, this.preset) = (examples, settings, defaultConfig, preset);
        settings.AddOptions(this);
        CommonOptions = [config, json, quiet, debug];
        foreach (var option in CommonOptions)
            Add(option);
        SetAction(command => Invoke(command, run));
    }

    public IReadOnlyList<string> Examples { get; }

    public SettingsBinder Settings { get; }

    /// <summary>What can be typed while the verb runs, and what each does; none by default.</summary>
    public IReadOnlyList<(string Words, string Meaning)> Typed { get; init; } = [];

    /// <summary>The kind of training that the verb is; null for verbs that do not train.</summary>
    public TrainingKind? Kind => TrainingKinds.Find(Name);

    /// <summary>What ships and stands in for settings that name nothing, by their keys in config.yaml; none by default.</summary>
    public IReadOnlyDictionary<string, string> Shipped { get; init; } = new Dictionary<string, string>();

    /// <summary>What the verb's own model that ships brings in place of defaults, or null; <see cref="SettingsLayer.Name"/> says where from.</summary>
    public Func<SettingsLayer?> ShippedSettings { get; init; } = () => null;

    public IReadOnlyList<Option> CommonOptions { get; }

    private int Invoke(ParseResult command, Func<VerbContext, int> run)
    {
        HashSet<string> noted = [];
        void Note(string note)
        {
            if (!command.GetValue(quiet) && noted.Add(note))
                Console.Error.WriteLine($"Note: {Screen.Clean(note)}");
        }
        PretrainedModel.Noticed += Note;
        try
        {
            string? file = command.GetValue(config) ?? defaultConfig?.Invoke(command);
            SettingsLayer[] layers = file is null ? [] : [SettingsLayer.OfFile(file)];
            if (preset?.Invoke(Settings.Preview(command, layers)) is { } chosen)
                layers = [chosen, .. layers];
            var bound = Settings.Bind(command, layers, withInputs: true);
            var screen = new Screen(command.GetValue(json), command.GetValue(quiet));
            bool isTraining = Kind is not null;
            using var interruption = new Interruption(isTraining);
            if (isTraining)
                interruption.OutliveTerminal();
            return run(new(bound, screen, interruption.Token, command) { TakeInterrupts = taker => interruption.Taker = taker });
        }
        catch (Exception e)
        {
            return ErrorReport.Write(e, command.GetValue(debug), Settings.NameFlags);
        }
        finally
        {
            PretrainedModel.Noticed -= Note;
        }
    }
}
