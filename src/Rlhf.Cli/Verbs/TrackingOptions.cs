using System.ComponentModel;
using Rlhf.Cli.Terminal;
using Rlhf.Tracking;

namespace Rlhf.Cli.Verbs;

/// <summary>Where metrics go beside metrics.jsonl and samples.jsonl.</summary>
internal enum MetricTarget
{
    Files,
    Tensorboard,
}

/// <summary>Where metrics go.</summary>
internal sealed record TrackingOptions
{
    [Description("files: metrics.jsonl and samples.jsonl; tensorboard: event files as well.")]
    public MetricTarget LogWith { get; init; }

    /// <summary>Opens the sinks of a run; one that fails is named once on the screen.</summary>
    /// <param name="folder">The run's folder.</param>
    /// <param name="screen">Where failures are told.</param>
    /// <param name="resumeAfterStep">Where a run goes on: what was logged of later steps is taken back. Null for a new run.</param>
    public MetricTracker Open(RunFolder folder, Screen screen, long? resumeAfterStep)
    {
        List<IMetricSink> sinks = [new JsonlSink(folder.Path, resumeAfterStep)];
        if (LogWith == MetricTarget.Tensorboard)
            sinks.Add(new TensorBoardSink(folder["tensorboard"], resumeAfterStep));
        return new(sinks, failure => screen.Line($"[yellow]{Screen.Safe(failure.ToString())}[/]"));
    }
}
