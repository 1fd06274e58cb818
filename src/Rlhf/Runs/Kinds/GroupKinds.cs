namespace Rlhf.Runs.Kinds;

/// <summary>Trainings that compare a policy's own answers.</summary>
internal static class GroupKinds
{
    private const string Band = "band: \u00b1 one standard deviation";

    public static readonly TrainingKind Grpo = Kind("grpo", "GRPO"), Rloo = Kind("rloo", "RLOO");

    private static TrainingKind Kind(string verb, string title) => new(verb, title)
    {
        Headlines = ["reward"],
        HeldOut = [],
        Metrics = Metrics(),
        Charts = Charts(),
        Phases = Phases(verb),
    };

    private static IReadOnlyList<MetricGroup> Metrics() =>
    [
        new("Is it getting better?",
        [
            new("reward", "Reward", "Mean score of the answers of a step. It should rise; if it rises while the samples get worse, the reward is being gamed."),
            new("reward_std", "Reward spread", "Standard deviation of the rewards that an answer is compared with: those to the same prompt. "
                + "Without spread there is nothing to learn."),
            new("frac_reward_zero_std", "Groups without signal", "Share of the prompts whose answers all have the same reward: all right or all wrong. "
                + "Nothing is learned from them. Near 1, the task is too hard or done."),
            new("resampled_groups", "Replaced groups", "Groups without signal that made room for answers to other prompts."),
            new(MetricCatalog.Kl, "KL from the reference", "How far the policy has moved from its reference, in nats per answer. Not measured with beta 0."),
            new("kl", "KL per token", "The same per token, as the loss sees it."),
        ]),
        new("Losses",
        [
            new("loss", "Loss", "The clipped objective. It hovers about zero; its size says little."),
        ]),
        new("The policy",
        [
            new("entropy", "Entropy", "How undecided the policy is at each token, in nats. A fast fall means that answers become all alike."),
            new("clip_ratio/region_mean", "Clipped share", "Share of tokens (or answers) whose probability ratio was clipped. 0 with one update per step."),
            new("clip_ratio/low_mean", "Clipped below", "The part of it that fell out of the range below."),
            new("clip_ratio/high_mean", "Clipped above", "The part of it that rose out of the range above."),
            new("cispo_clip_ratio", "Bounded weights", "Share of tokens whose weight was bounded."),
        ]),
        new("Texts",
        [
            new("completions/mean_length", "Answer length", "Mean number of tokens that the policy writes."),
            new("completions/clipped_ratio", "Answers cut off", "Share of answers that reached the length limit without an end token."),
            new("completions/mean_terminated_length", "Length of answers that end", "Mean number of tokens of the answers that end by themselves."),
            new("prompts/mean_length", "Prompt length", "Mean number of tokens that are given."),
            new("num_tokens", "Tokens so far", "Answer tokens that were learned from since the run began."),
        ]),
        new("The optimizer",
        [
            new("learning_rate", "Learning rate", "Size of the optimizer's steps."),
            new("grad_norm", "Gradient norm", "Length of the gradient before clipping. Spikes announce trouble."),
            new(MetricCatalog.StepTime, "Time per step", "Seconds that a step takes."),
        ]),
    ];

    private static IReadOnlyList<MetricChart> Charts() =>
    [
        new("reward", $"mean of each step's answers, {Band} within groups", new MetricLine("reward", 1, "reward", "reward_std")),
        new("no-signal", "share of the prompts", new MetricLine("frac_reward_zero_std", 4)) { Title = "Groups without signal", FromZero = true },
        new("kl", "nats per answer", new MetricLine(MetricCatalog.Kl, 2)) { FromZero = true },
        new("loss", "", new MetricLine("loss", 1)) { Title = "Loss" },
        new("entropy", "nats per token, of the policy's distribution", new MetricLine("entropy", 5)),
        new("clipping", "share that was clipped", new MetricLine("clip_ratio/low_mean", 1, "below"), new MetricLine("clip_ratio/high_mean", 3, "above"))
        {
            Title = "Clipped share",
            FromZero = true,
        },
        new("lengths", "tokens, mean of each step's answers", new MetricLine("completions/mean_length", 1, "all"),
            new MetricLine("completions/mean_terminated_length", 3, "those that end"))
        {
            Title = "Lengths",
            FromZero = true,
        },
        new("cut-off", "share of the answers", new MetricLine("completions/clipped_ratio", 6)) { Title = "Answers cut off", FromZero = true },
        new("learning-rate", "", new MetricLine("learning_rate", 6)) { FromZero = true },
        new("gradient", "before clipping", new MetricLine("grad_norm", 7)) { FromZero = true },
    ];

    private static IReadOnlyList<PhaseTerm> Phases(string verb) =>
    [
        new("time/generation", "Writing answers", "The policy samples its answers.", "generation"),
        new("time/reward", "Scoring", "The rewards read them.", "reward"),
        new($"time/{verb}/forward_pass", "Reference pass", "Logprobs of the answers under policy and reference.", "reference"),
        new($"time/{verb}/compute_advantages", "Advantages", "How much better each answer is than others to the same prompt.", ""),
        new($"time/{verb}/optimize/forward", "Training: forward", "The trained model reads the answers.", "forward"),
        new($"time/{verb}/optimize/head", "Training: loss", "Output layer, loss and its gradient.", "forward"),
        new($"time/{verb}/optimize/backward", "Training: backward", "The gradient goes back through the model.", "backward"),
        new($"time/{verb}/optimize/optimizer", "Training: optimizer", "Adam changes the weights.", "optimizer"),
        new($"time/{verb}/optimize_step", "Training", "The updates of the policy.", "optimization")
        {
            DividedInto = [$"time/{verb}/optimize/backward"],
        },
    ];
}
