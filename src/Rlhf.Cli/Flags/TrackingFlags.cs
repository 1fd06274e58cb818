using System.ComponentModel;
using System.Globalization;
using Rlhf.Cli.Runs;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Runtime;
using Rlhf.Tracking;
using Rlhf.Tracking.Wandb;

namespace Rlhf.Cli.Flags;

/// <summary>Where metrics go.</summary>
[MayChange]
internal sealed record TrackingFlags
{
    /// <summary>Names of sinks, and of their folders in a run's.</summary>
    public const string TensorBoard = "tensorboard", Wandb = "wandb";

    private static readonly string[] Sinks = ["jsonl", TensorBoard, Wandb];

    [Description("Where metrics and samples go, one or several with commas: jsonl (metrics.jsonl and samples.jsonl, always written), "
        + "tensorboard (event files), wandb (an offline run for wandb sync).")]
    [ValueName("SINKS")]
    public string LogWith { get; init; } = "jsonl";

    [Description("Weights & Biases: project of the run.")]
    [ValueName("NAME")]
    public string WandbProject { get; init; } = "rlhf";

    [Description("Weights & Biases: name of the run; default: the output folder's.")]
    [ValueName("NAME")]
    public string? RunName { get; init; }

    public IEnumerable<string> Validate()
    {
        foreach (var name in Names().Except(Sinks))
            yield return $"LogWith names '{SettingValue.Shorten(name)}'{SettingsBinder.Suggest(name, Sinks)} "
                + $"It is a list of {string.Join(", ", Sinks)}.";
        if (string.IsNullOrWhiteSpace(WandbProject)) yield return "WandbProject has no value; name a project.";
    }

    /// <summary>Opens the sinks of a run that were asked for, beside the JSON lines that every run has.</summary>
    /// <param name="context">What the verb runs with.</param>
    /// <param name="folder">The run's folder, with its config.yaml.</param>
    /// <param name="resumeAfterStep">Where a run is resumed: what was logged of later steps is taken back. Null for a new run.</param>
    public IReadOnlyList<IMetricSink> Open(VerbContext context, RunFolder folder, long? resumeAfterStep)
    {
        List<IMetricSink> sinks = [];
        if (Names().Contains(TensorBoard))
            sinks.Add(new TensorBoardSink(folder[TensorBoard], resumeAfterStep));
        if (Names().Contains(Wandb))
            sinks.Add(new WandbSink(folder[Wandb], new(WandbProject, RunName ?? folder.Name)
            {
                Config = Config(folder),
                Command = context.CommandLine,
            }, resumeAfterStep));
        return sinks;
    }

    private string[] Names() => [.. (LogWith ?? "").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)
        .Select(name => name.ToLowerInvariant()).Select(name => name is "files" ? "jsonl" : name)];

    /// <summary>The run's settings as values.</summary>
    private static Dictionary<string, object?> Config(RunFolder folder) => folder.ReadConfig().ToDictionary(e => e.Key, e =>
        e.IsNull ? null
        : bool.TryParse(e.Value, out bool flag) ? flag
        : long.TryParse(e.Value, CultureInfo.InvariantCulture, out long whole) ? whole
        : double.TryParse(e.Value, CultureInfo.InvariantCulture, out double number) && double.IsFinite(number) ? number
        : (object?)e.Value);
}
