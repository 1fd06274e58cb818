namespace Rlhf.Runs.Kinds;

internal static class RewardKind
{
    public static readonly TrainingKind Instance = new("reward", "reward model")
    {
        Makes = TrainingProduct.RewardModel,
        Headlines = ["eval/accuracy", "train/accuracy", "eval/loss", "train/loss"],
        HeldOut =
        [
            new("held_out_pairs.accuracy", "The reward model prefers the answer that people chose in")
            {
                HigherIsBetter = true,
                Chance = 0.5,
                Count = "held_out_pairs.pairs",
                Interval = "held_out_pairs.accuracy_ci95",
                Unit = "held-out pair",
            },
            new("eval_accuracy", "The reward model is right about")
            {
                HigherIsBetter = true,
                Chance = 0.5,
                Count = "eval_examples",
                Unit = "held-out text",
            },
        ],
    };
}
