namespace Rlhf.Runs;

/// <summary>A metric as people know it.</summary>
/// <param name="Name">Its name in metrics.jsonl.</param>
/// <param name="Title">What it is called.</param>
/// <param name="Explanation">What it means and how to read it; empty where its name says it.</param>
public sealed record MetricTerm(string Name, string Title, string Explanation);

/// <summary>Metrics that are read together.</summary>
/// <param name="Title">What they tell.</param>
/// <param name="Metrics">The metrics.</param>
public sealed record MetricGroup(string Title, IReadOnlyList<MetricTerm> Metrics);

/// <summary>A part of a training step.</summary>
/// <param name="Metric">The metric of its seconds.</param>
/// <param name="Title">What happens.</param>
/// <param name="Explanation">What that is.</param>
/// <param name="Part">The coarser part of the step that it belongs to; empty for the rest of it.</param>
public sealed record PhaseTerm(string Metric, string Title, string Explanation, string Part);

/// <summary>The metrics that the trainings log, with their explanations.</summary>
public static class MetricCatalog
{
    /// <summary>The metric that says best how a training does, by verb: the first that a run has.</summary>
    public static IReadOnlyList<string> Headlines { get; } =
        ["env/reward_mean", "eval/accuracy", "train/accuracy", "eval/loss", "train/loss"];

    /// <summary>KL divergence from the reference.</summary>
    public const string Kl = "objective/kl";

    /// <summary>Seconds of a whole step.</summary>
    public const string StepTime = "time/step";

    private static readonly PhaseTerm[] DetailedPhases =
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
    ];

    private static readonly PhaseTerm WholeOptimization =
        new("time/ppo/optimize_step", "Training", "The updates of policy and value head.", "optimization");

    /// <summary>Groups in the order in which they are shown.</summary>
    public static IReadOnlyList<MetricGroup> Groups { get; } =
    [
        new("Is it getting better?",
        [
            new("env/reward_mean", "Reward", "Mean score that the reward model gives to the answers of a step. It should rise; "
                + "if it rises while the samples get worse, the reward is being gamed."),
            new(Kl, "KL from the reference", "How far the policy has moved from the model that it started from, in nats per answer. "
                + "Some is needed to learn anything; much of it means that the language drifts."),
            new("objective/kl_coef", "KL coefficient", "What a nat of KL costs in reward. The adaptive controller raises it when KL is above "
                + "its target and lowers it when below."),
            new("env/reward_std", "Reward spread", "Standard deviation of the rewards within a step."),
            new("train/loss", "Training loss", "What the training minimizes, on its own texts. Lower is better."),
            new("eval/loss", "Held-out loss", "The same loss on texts that are not trained on. When it rises while the training loss falls, "
                + "the model learns its texts by heart."),
            new("train/accuracy", "Training accuracy", "Share of this step's examples that the model gets right."),
            new("eval/accuracy", "Held-out accuracy", "Share of held-out examples that the model gets right."),
            new("eval/perplexity", "Held-out perplexity", "How many tokens the model hesitates between on average. Lower is better."),
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
            new("train/learning_rate", "Learning rate", "Size of the optimizer's steps."),
            new("ppo/grad_norm", "Gradient norm", "Length of the gradient before clipping. Spikes announce trouble."),
            new("train/grad_norm", "Gradient norm", "Length of the gradient before clipping. Spikes announce trouble."),
            new("train/tokens_per_second", "Tokens per second", "How fast it trains."),
            new(StepTime, "Time per step", "Seconds that a step takes."),
        ]),
    ];

    /// <summary>What a metric of <see cref="Groups"/> is called.</summary>
    public static string TitleOf(string name) => Titles[name];

    /// <summary>The parts of a step in their order, as far as these metrics tell them apart.</summary>
    /// <param name="names">Names of the metrics that there are.</param>
    public static IEnumerable<PhaseTerm> Phases(IEnumerable<string> names)
    {
        var logged = names.ToHashSet();
        return (logged.Contains("time/ppo/optimize/backward") ? DetailedPhases : [.. DetailedPhases, WholeOptimization])
            .Where(p => logged.Contains(p.Metric));
    }

    /// <summary>The groups with what these runs have, and last a group of what has no explanation.</summary>
    /// <param name="names">Names of the metrics that there are.</param>
    public static IReadOnlyList<MetricGroup> Of(IEnumerable<string> names)
    {
        var left = names.ToHashSet();
        List<MetricGroup> result = [];
        foreach (var group in Groups)
            if (group.Metrics.Where(m => left.Remove(m.Name)).ToArray() is { Length: > 0 } known)
                result.Add(group with { Metrics = known });
        var others = left.Where(n => !n.StartsWith("time/", StringComparison.Ordinal)).Order(StringComparer.Ordinal)
            .Select(n => new MetricTerm(n, n[(n.LastIndexOf('/') + 1)..].Replace('_', ' '), "")).ToArray();
        if (others.Length > 0)
            result.Add(new(OtherMetrics, others));
        return result;
    }

    /// <summary>Title of the group of metrics without an explanation.</summary>
    public const string OtherMetrics = "More metrics";

    private static readonly Dictionary<string, string> Titles = Groups.SelectMany(g => g.Metrics).ToDictionary(m => m.Name, m => m.Title);
}
