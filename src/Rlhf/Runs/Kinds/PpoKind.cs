namespace Rlhf.Runs.Kinds;

internal static class PpoKind
{
    private const string Band = "band: \u00b1 one standard deviation";

    public static readonly TrainingKind Instance = new("ppo", "PPO")
    {
        Headlines = ["env/reward_mean"],
        HeldOut = [],
        Metrics = Metrics(),
        Charts = Charts(),
        Phases = Phases(),
    };

    private static IReadOnlyList<MetricGroup> Metrics() =>
    [
        new("Is it getting better?",
        [
            new("env/reward_mean", "Reward", "Mean score that the reward model gives to the answers of a step. It should rise; "
                + "if it rises while the samples get worse, the reward is being gamed."),
            new(MetricCatalog.Kl, "KL from the reference", "How far the policy has moved from the model that it started from, in nats per answer. "
                + "Some is needed to learn anything; much of it means that the language drifts."),
            new("objective/kl_coef", "KL coefficient", "What a nat of KL costs in reward. The adaptive controller raises it when KL is above "
                + "its target and lowers it when below."),
            new("env/reward_std", "Reward spread", "Standard deviation of the rewards within a step."),
        ]),
        new("Losses",
        [
            new("ppo/loss/policy", "Policy loss", "PPO's clipped objective, which moves probability to answers that did better than expected. "
                + "It hovers about zero; its size says little."),
            new("ppo/loss/value", "Value loss", "How badly the value head predicts the rewards to come. It should fall as it learns to expect them."),
            new("ppo/loss/total", "Total loss", "Policy loss plus the weighted value loss."),
            new("ppo/val/var_explained", "Explained variance", "Share of the returns' variance that the value head predicts: 1 is perfect, "
                + "0 is no better than the mean, below 0 is worse."),
        ]),
        new("The policy",
        [
            new("ppo/policy/entropy", "Entropy", "How undecided the policy is at each token, in nats. A fast fall means that answers become all alike."),
            new("objective/entropy", "Entropy of answers", "Minus the logprob of whole answers. Falls as the policy becomes sure of itself."),
            new("ppo/policy/approxkl", "Update KL", "How far one step's updates moved the policy. Spikes mean that the learning rate is too high."),
            new("ppo/policy/clipfrac", "Clipped share", "Share of tokens whose probability ratio PPO clipped. Above 0.3 for long, updates are too large."),
        ]),
        new("Texts",
        [
            new("tokens/responses_len_mean", "Answer length", "Mean number of tokens that the policy writes."),
            new("tokens/queries_len_mean", "Query length", "Mean number of tokens that are given."),
        ]),
        new("The optimizer",
        [
            new("ppo/learning_rate", "Learning rate", "Size of the optimizer's steps."),
            new("ppo/grad_norm", "Gradient norm", "Length of the gradient before clipping. Spikes announce trouble."),
            new(MetricCatalog.StepTime, "Time per step", "Seconds that a step takes."),
        ]),
    ];

    private static IReadOnlyList<MetricChart> Charts() =>
    [
        new("reward", $"mean of each step's batch, {Band}", new MetricLine("env/reward_mean", 1, "reward", "env/reward_std")),
        new("kl", "nats per response", new MetricLine(MetricCatalog.Kl, 2)) { FromZero = true },
        new("kl-coefficient", "weight of the KL penalty in the reward", new MetricLine("objective/kl_coef", 4)) { FromZero = true },
        new("policy-loss", "mean over minibatches", new MetricLine("ppo/loss/policy", 1)),
        new("value-loss", "mean over minibatches", new MetricLine("ppo/loss/value", 3)) { FromZero = true },
        new("entropy", "nats per token, of the policy's distribution", new MetricLine("ppo/policy/entropy", 5)),
        new("clipping", "share of tokens whose update was clipped", new MetricLine("ppo/policy/clipfrac", 1, "policy"),
            new MetricLine("ppo/val/clipfrac", 3, "value"))
        {
            FromZero = true,
        },
        new("lengths", $"tokens, mean of each step's batch, {Band}",
            new MetricLine("tokens/responses_len_mean", 1, "response", "tokens/responses_len_std"),
            new MetricLine("tokens/queries_len_mean", 0, "query", "tokens/queries_len_std"))
        {
            Title = "Lengths",
            FromZero = true,
        },
        new("learning-rate", "", new MetricLine("ppo/learning_rate", 6)) { FromZero = true },
        new("gradient", "before clipping", new MetricLine("ppo/grad_norm", 7)) { FromZero = true },
    ];

    private static IReadOnlyList<PhaseTerm> Phases() =>
    [
        new("time/generation", "Writing answers", "The policy samples its answers.", "generation"),
        new("time/reward", "Scoring", "The reward model reads them.", "reward"),
        new("time/ppo/forward_pass", "Reference pass", "Logprobs of the answers under policy and reference.", "reference"),
        new("time/ppo/compute_rewards", "Rewards", "Scores and KL become rewards of single tokens.", ""),
        new("time/ppo/compute_advantages", "Advantages", "How much better than expected each token did.", ""),
        new("time/ppo/optimize/forward", "Training: forward", "The trained model reads the batch.", "forward"),
        new("time/ppo/optimize/head", "Training: loss", "Output layer, loss and its gradient.", "forward"),
        new("time/ppo/optimize/backward", "Training: backward", "The gradient goes back through the model.", "backward"),
        new("time/ppo/optimize/optimizer", "Training: optimizer", "Adam changes the weights.", "optimizer"),
        new("time/ppo/optimize_step", "Training", "The updates of policy and value head.", "optimization")
        {
            DividedInto = ["time/ppo/optimize/backward"],
        },
    ];
}
