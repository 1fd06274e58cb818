namespace Rlhf.Studio.Runs;

/// <summary>A part of a training step and how long it takes.</summary>
/// <param name="Title">What happens.</param>
/// <param name="Explanation">What that is.</param>
/// <param name="Seconds">How long it takes, on average over recent steps.</param>
/// <param name="Share">Its share of the step, 0 to 1.</param>
public sealed record Phase(string Title, string Explanation, double Seconds, double Share);

/// <summary>Where the time of a training step goes.</summary>
public static class Phases
{
    private const int RecentSteps = 20;
    private const string Step = "time/step";

    private const double LeastShare = 0.005;

    private static readonly (string Metric, string Title, string Explanation)[] Known =
    [
        ("time/generation", "Writing answers", "The policy samples its answers."),
        ("time/reward", "Scoring", "The reward model reads them."),
        ("time/ppo/forward_pass", "Reference pass", "Logprobs of the answers under policy and reference."),
        ("time/ppo/compute_rewards", "Rewards", "Scores and KL become rewards of single tokens."),
        ("time/ppo/compute_advantages", "Advantages", "How much better than expected each token did."),
        ("time/ppo/optimize/forward", "Training: forward", "The trained model reads the batch."),
        ("time/ppo/optimize/head", "Training: loss", "Output layer, loss and its gradient."),
        ("time/ppo/optimize/backward", "Training: backward", "The gradient goes back through the model."),
        ("time/ppo/optimize/optimizer", "Training: optimiser", "Adam changes the weights."),
    ];

    private static readonly (string Metric, string Title, string Explanation) WholeOptimization =
        ("time/ppo/optimize_step", "Training", "The updates of policy and value head.");

    /// <summary>The phases of a run's steps, the mean over its last ones; empty where it logs no times.</summary>
    public static IReadOnlyList<Phase> Of(RunData run)
    {
        if (run.Recent(Step, RecentSteps) is not { } total || total <= 0)
            return [];
        List<Phase> phases = [];
        bool isDetailed = run.Recent("time/ppo/optimize/backward", 1) is not null;
        foreach (var (metric, title, explanation) in isDetailed ? Known : [.. Known, WholeOptimization])
            if (run.Recent(metric, RecentSteps) is { } seconds && seconds >= LeastShare * total)
                phases.Add(new(title, explanation, seconds, Math.Min(1, seconds / total)));
        double rest = total - phases.Sum(p => p.Seconds);
        if (rest > LeastShare * total)
            phases.Add(new("Everything else", "Statistics, batches, writing metrics.", rest, rest / total));
        return phases;
    }
}
