namespace Rlhf.Runs.Kinds;

/// <summary>What every training by <see cref="Training.Loop.EpochTrainer{TExample}"/> logs, and how it is shown.</summary>
internal static class EpochTraining
{
    public static readonly HeldOutMeasure HeldOutLoss = new("eval_loss", "Loss on held-out data") { Metric = "eval/loss" };

    public static readonly IReadOnlyList<MetricGroup> Metrics =
    [
        new("Is it getting better?",
        [
            new("train/loss", "Training loss", "What the training minimizes, on its own texts. Lower is better."),
            new("eval/loss", "Held-out loss", "The same loss on texts that are not trained on. When it rises while the training loss falls, "
                + "the model learns its texts by heart."),
            new("train/accuracy", "Training accuracy", "Share of this step's examples that the model gets right."),
            new("eval/accuracy", "Held-out accuracy", "Share of held-out examples that the model gets right."),
            new("eval/perplexity", "Held-out perplexity", "How many tokens the model hesitates between on average. Lower is better."),
        ]),
        new("The optimizer",
        [
            new("train/learning_rate", "Learning rate", "Size of the optimizer's steps."),
            new("train/grad_norm", "Gradient norm", "Length of the gradient before clipping. Spikes announce trouble."),
            new("train/tokens_per_second", "Tokens per second", "How fast it trains."),
        ]),
    ];

    /// <param name="lossUnit">What the loss is counted in; may be empty.</param>
    public static IReadOnlyList<MetricChart> Charts(string lossUnit = "") =>
    [
        new("loss", lossUnit, new MetricLine("train/loss", 1, "training"), new MetricLine("eval/loss", 2, "held out")) { Title = "Loss" },
        new("accuracy", "share that is right", new MetricLine("train/accuracy", 1, "training"), new MetricLine("eval/accuracy", 2, "held out"))
        {
            Title = "Accuracy",
        },
        new("perplexity", "", new MetricLine("eval/perplexity", 2)),
        new("learning-rate", "", new MetricLine("train/learning_rate", 6)) { FromZero = true },
        new("gradient", "before clipping", new MetricLine("train/grad_norm", 7)) { FromZero = true },
        new("speed", "since the start", new MetricLine("train/tokens_per_second", 3)) { FromZero = true },
    ];
}
