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
    public MetricTracker Open(RunFolder folder, Screen screen)
    {
        List<IMetricSink> sinks = [new JsonlSink(folder.Path)];
        if (LogWith == MetricTarget.Tensorboard)
            sinks.Add(new TensorBoardSink(folder["tensorboard"]));
        return new(sinks, failure => screen.Line($"[yellow]{Screen.Safe(failure.ToString())}[/]"));
    }
}
