using Rlhf.Runs.Kinds;

namespace Rlhf.Runs;

/// <summary>What a run leaves in its model folder.</summary>
public enum TrainingProduct
{
    /// <summary>A language model.</summary>
    Policy,

    /// <summary>A classifier or reward model.</summary>
    RewardModel,
}

/// <summary>
/// A kind of training, as everything that shows or resumes runs knows it: reports, the studio, the command. One per algorithm, in
/// <see cref="TrainingKinds"/>. By default it logs what <see cref="Training.Loop.EpochTrainer{TExample}"/> does.
/// </summary>
/// <param name="Verb">Its name in lower case, as in <c>rlhf ppo</c> and in run.json.</param>
/// <param name="Title">What it is called in a sentence, such as "supervised fine-tuning".</param>
public sealed record TrainingKind(string Verb, string Title)
{
    /// <summary>What a run makes; a policy by default.</summary>
    public TrainingProduct Makes { get; init; }

    /// <summary>The metrics that it logs, with explanations, in the order in which they are shown.</summary>
    public IReadOnlyList<MetricGroup> Metrics { get; init; } = EpochTraining.Metrics;

    /// <summary>The metrics that say best how a run does: the first that a run has logged counts.</summary>
    public IReadOnlyList<string> Headlines { get; init; } = ["eval/loss", "train/loss"];

    /// <summary>What the metrics are counted by.</summary>
    public string Axis { get; init; } = "step";

    /// <summary>The curves of its report, in order; those without a value are left out.</summary>
    public IReadOnlyList<MetricChart> Charts { get; init; } = EpochTraining.Charts();

    /// <summary>The parts of a step that it logs the seconds of, in order; none by default.</summary>
    public IReadOnlyList<PhaseTerm> Phases { get; init; } = [];

    /// <summary>What its result is judged by, where it has no evaluation before and after: the first that summary.json holds.</summary>
    public IReadOnlyList<HeldOutMeasure> HeldOut { get; init; } = [EpochTraining.HeldOutLoss];
}

/// <summary>A chart of metrics over the steps.</summary>
/// <param name="Name">A short name in lower case, for files and places in a page.</param>
/// <param name="Note">What is measured, and in what unit; may be empty.</param>
/// <param name="Lines">Its curves.</param>
public sealed record MetricChart(string Name, string Note, params IReadOnlyList<MetricLine> Lines)
{
    /// <summary>Its title; null, the default, takes that of its first metric.</summary>
    public string? Title { get; init; }

    /// <summary>Does its axis begin at 0?</summary>
    public bool FromZero { get; init; }
}

/// <summary>A curve.</summary>
/// <param name="Metric">The metric.</param>
/// <param name="Color">Number of its color, 0 to 7; charts of the same thing have the same.</param>
/// <param name="Label">What the legend calls it; null takes the metric's title.</param>
/// <param name="Spread">The metric of its standard deviation, drawn as a band; null: none.</param>
public sealed record MetricLine(string Metric, int Color, string? Label = null, string? Spread = null);

/// <summary>A number of summary.json that says how well the result does on held-out data.</summary>
/// <param name="Number">Where it stands, with dots between keys, such as held_out_pairs.accuracy.</param>
/// <param name="Subject">How a sentence about it begins, such as "Perplexity on held-out text".</param>
public sealed record HeldOutMeasure(string Number, string Subject)
{
    /// <summary>The same over the steps, to see whether it improved; null: not logged.</summary>
    public string? Metric { get; init; }

    /// <summary>Is more better? False by default, as for losses.</summary>
    public bool HigherIsBetter { get; init; }

    /// <summary>For shares: the share that chance would give. Null for other numbers.</summary>
    public double? Chance { get; init; }

    /// <summary>For shares: where the number of examples stands.</summary>
    public string? Count { get; init; }

    /// <summary>For shares: where the 95 % interval stands; null: Wilson's is computed.</summary>
    public string? Interval { get; init; }

    /// <summary>For shares: what is counted, in the singular.</summary>
    public string Unit { get; init; } = "held-out example";
}
