namespace Rlhf.Runs.Kinds;

/// <summary>Training on pairs, and on single answers.</summary>
internal static class PreferenceKinds
{
    private static readonly MetricGroup Preferences = new("Is it getting better?",
    [
        new("eval/rewards/accuracies", "Held-out preference accuracy", "Share of held-out pairs whose chosen answer the policy favors, compared with "
            + "its reference. A coin gives one half."),
        new("train/rewards/accuracies", "Preference accuracy", "The same of this step's pairs, before the update."),
        new("eval/rewards/margins", "Held-out margin", "Mean reward of chosen answers less that of rejected ones, on held-out pairs."),
        new("train/rewards/margins", "Margin", "Mean reward of chosen answers less that of rejected ones. It should grow."),
        new("train/loss", "Training loss", "What the training minimizes, on its own pairs. Lower is better; a DPO run begins at 0.693."),
        new("eval/loss", "Held-out loss", "The same loss on pairs that are not trained on. When it rises while the training loss falls, the policy learns "
            + "its pairs by heart."),
    ]);

    private static readonly MetricGroup Likelihood = new("What becomes of the answers",
    [
        new("train/rewards/chosen", "Reward of chosen answers", "\u03b2 times how much likelier chosen answers are than under the reference. Below 0, they lose likelihood too."),
        new("train/rewards/rejected", "Reward of rejected answers", "The same of rejected answers. It should fall."),
        new("eval/rewards/chosen", "Held-out reward, chosen", "The same of chosen answers that are not trained on."),
        new("eval/rewards/rejected", "Held-out reward, rejected", "The same of rejected answers that are not trained on."),
        new("train/logps/chosen", "Logprob of chosen answers", "Mean logprob of a chosen answer; per token for losses that count so."),
        new("train/logps/rejected", "Logprob of rejected answers", "Mean logprob of a rejected answer."),
        new("train/nll_loss", "Cross entropy of chosen answers", "Mean over tokens, where the loss has this term."),
        new("train/log_odds_chosen", "Log odds", "ORPO: by how much the odds of chosen answers exceed those of rejected ones."),
        new("train/kl", "KL estimate", "KTO: what gains and losses are measured from, in nats per answer."),
    ]);

    private static readonly IReadOnlyList<MetricChart> Charts =
    [
        new("accuracy", "share of pairs", new MetricLine("train/rewards/accuracies", 1, "training"), new MetricLine("eval/rewards/accuracies", 2, "held out"))
        {
            Title = "Preference accuracy",
        },
        new("rewards", "\u03b2 \u00b7 log ratio to the reference", new MetricLine("train/rewards/chosen", 1, "chosen"), new MetricLine("train/rewards/rejected", 2, "rejected"))
        {
            Title = "Rewards of answers",
        },
        new("margin", "chosen less rejected", new MetricLine("train/rewards/margins", 1, "training"), new MetricLine("eval/rewards/margins", 2, "held out"))
        {
            Title = "Margin",
        },
        new("logps", "nats", new MetricLine("train/logps/chosen", 1, "chosen"), new MetricLine("train/logps/rejected", 2, "rejected")) { Title = "Logprobs of answers" },
        new("kl", "nats per answer", new MetricLine("train/kl", 2)) { FromZero = true },
        .. EpochTraining.Charts().Where(c => c.Name is not ("accuracy" or "perplexity")),
    ];

    public static readonly TrainingKind Dpo = new("dpo", "preference optimization")
    {
        Metrics = [Preferences, Likelihood, EpochTraining.Metrics[^1]],
        Headlines = ["eval/rewards/accuracies", "train/rewards/accuracies", "eval/loss", "train/loss"],
        Charts = Charts,
        HeldOut =
        [
            new("held_out_pairs.accuracy", "The policy favors the answer that was chosen in")
            {
                Metric = "eval/rewards/accuracies",
                HigherIsBetter = true,
                Chance = 0.5,
                Count = "held_out_pairs.pairs",
                Interval = "held_out_pairs.accuracy_ci95",
                Unit = "held-out pair",
            },
            EpochTraining.HeldOutLoss,
        ],
    };

    public static readonly TrainingKind Kto = new("kto", "optimization from single answers")
    {
        Metrics = [Preferences, Likelihood, EpochTraining.Metrics[^1]],
        Headlines = ["eval/rewards/accuracies", "train/rewards/accuracies", "eval/loss", "train/loss"],
        Charts = Charts,
        HeldOut =
        [
            new("eval_accuracy", "The policy moves the right way on")
            {
                Metric = "eval/rewards/accuracies",
                HigherIsBetter = true,
                Chance = 0.5,
                Count = "eval_examples",
                Unit = "held-out answer",
            },
            EpochTraining.HeldOutLoss,
        ],
    };
}
