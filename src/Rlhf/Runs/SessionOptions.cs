using Microsoft.Extensions.Logging;
using Rlhf.Tracking;

namespace Rlhf.Runs;

/// <summary>Where a <see cref="TrainingSession"/> writes, what it keeps, and whom it tells.</summary>
/// <param name="Folder">The run's folder.</param>
public sealed record SessionOptions(string Folder)
{
    /// <summary>Resume the run in <see cref="Folder"/>; a new one begins where there is none. False by default: the folder must then be new or empty.</summary>
    public bool Resume { get; init; }

    /// <summary>Resume from no checkpoint of a later step; by default from the newest.</summary>
    public long ResumeAtMost { get; init; } = long.MaxValue;

    /// <summary>Steps from one checkpoint to the next; 0: none; null, the default: one every 10 minutes.</summary>
    public int? SaveEvery { get; init; }

    /// <summary>Checkpoints to keep, the newest, beside the best one; 2 by default.</summary>
    public int KeepLast { get; init; } = 2;

    /// <summary>
    /// Records of settings, such as a <see cref="Training.Loop.TrainerConfig"/>, that config.yaml holds. A resumed run must have the same, but
    /// for those that are marked <see cref="Runtime.MayChangeAttribute"/>. None by default.
    /// </summary>
    public IReadOnlyList<object> Settings { get; init; } = [];

    /// <summary>Fingerprints of models and data, by name: a run is resumed only with the same. None by default.</summary>
    public IReadOnlyDictionary<string, string> Inputs { get; init; } = new Dictionary<string, string>();

    /// <summary>How the run was started, for its report.</summary>
    public string Command { get; init; } = "";

    /// <summary>Where it computes, for its report.</summary>
    public string Device { get; init; } = "";

    /// <summary>
    /// Further sinks of metrics, beside metrics.jsonl and samples.jsonl. Given the step after which the run is resumed, whose later rows are
    /// void; null for a new run.
    /// </summary>
    public Func<long?, IEnumerable<IMetricSink>>? Sinks { get; init; }

    /// <summary>Where what happens to the run is logged; null, the default: nowhere.</summary>
    public ILoggerFactory? LoggerFactory { get; init; }

    /// <summary>Words for why a run failed, for its report; null, the default, takes the exception's message.</summary>
    internal Func<Exception, string>? Explain { get; init; }
}
