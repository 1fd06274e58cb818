using Rlhf.Runs;

namespace Rlhf.Studio.Runs;

/// <summary>One run as the list shows it.</summary>
/// <param name="Id">Path of its folder from the runs folder, with slashes.</param>
/// <param name="Verb">sft, reward or ppo; empty where its settings do not say.</param>
/// <param name="State">How it stands.</param>
/// <param name="Step">The last step that was logged; 0 for none.</param>
/// <param name="TotalSteps">Steps that it will have, where its settings say so.</param>
/// <param name="Latest">The last step's metrics.</param>
/// <param name="Started">When it began, UTC, or where no file says that, when its first step was logged.</param>
/// <param name="Updated">When the last step was logged, UTC.</param>
/// <param name="Holder">The process that has or had its folder, or null.</param>
/// <param name="Checkpoint">The newest checkpoint's step, or null.</param>
/// <param name="HasReport">Is there a report, or can one be made?</param>
/// <param name="HasModel">Is there a model that it saved?</param>
public sealed record RunListing(
    string Id, string Verb, RunState State, long Step, long? TotalSteps, IReadOnlyDictionary<string, double> Latest,
    DateTime? Started, DateTime? Updated, RunHolder? Holder, long? Checkpoint, bool HasReport, bool HasModel)
{
    /// <summary>How long it has taken so far: for a run that ended, what its summary says.</summary>
    public TimeSpan? Took { get; init; }

    /// <summary>The folder's own name.</summary>
    public string Name => Id[(Id.LastIndexOf('/') + 1)..];

    /// <summary>The folder that it lies in, or empty.</summary>
    public string Group => Id.LastIndexOf('/') is var slash and >= 0 ? Id[..slash] : "";

    /// <summary>The share of its steps that is done, in [0, 1]; null where their number is not known.</summary>
    public double? Progress => State == RunState.Finished ? 1 : TotalSteps is > 0 ? Math.Min(1, (double)Step / TotalSteps.Value) : null;

    /// <summary>The last value of the first of these metrics that it has.</summary>
    public (string Name, double Value)? Value(params ReadOnlySpan<string> names)
    {
        foreach (var name in names)
            if (Latest.TryGetValue(name, out double value))
                return (name, value);
        return null;
    }

    /// <summary>Can it go on?</summary>
    public bool CanResume => State is RunState.Stopped or RunState.Killed && Verb.Length > 0;
}
