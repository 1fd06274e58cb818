using System.ComponentModel;
using Rlhf.Cli.Settings;
using Rlhf.Runtime;

namespace Rlhf.Cli.Flags;

/// <summary>What is kept of a run while it lasts, and whether it resumes from there.</summary>
internal sealed record CheckpointFlags
{
    public const string Auto = "auto";

    [Description("Resume a run that was stopped: its folder or one of its checkpoints; auto, or no value: the run in --output, or "
        + "else the newest in runs/, and a new one where there is none.")]
    [ValueName("DIR|auto")]
    [BareValue(Auto)]
    [NotRecorded]
    public string? Resume { get; init; }

    [Description("Steps from one checkpoint to the next; 0: none; default: one every 10 minutes. Ctrl-C and SIGTERM also leave one.")]
    [MayChange]
    public int? SaveEvery { get; init; }

    [Description("How many of the newest checkpoints to keep, besides the best one.")]
    [MayChange]
    public int KeepLast { get; init; } = 2;

    public IEnumerable<string> Validate()
    {
        if (SaveEvery < 0) yield return $"SaveEvery is {SaveEvery}; it must be 0 or more, or left out.";
        if (KeepLast < 1) yield return $"KeepLast is {KeepLast}; it must be at least 1.";
    }
}
