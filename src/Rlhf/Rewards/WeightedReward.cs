namespace Rlhf.Rewards;

/// <summary>One part of a <see cref="WeightedReward"/>.</summary>
/// <param name="Reward">Gives the part's score.</param>
/// <param name="Weight">What the score is multiplied with; may be negative.</param>
public sealed record WeightedComponent(IRewardFunction Reward, double Weight);

/// <summary>A weighted sum and what it is made of.</summary>
/// <param name="Total">The sums, one per completion.</param>
/// <param name="Components">Each part's own scores before weighting, in the parts' order.</param>
public sealed record WeightedScores(IReadOnlyList<float> Total, IReadOnlyList<ScoreComponent> Components);

/// <summary>The weighted sum of several rewards, which it owns.</summary>
public sealed class WeightedReward : IRewardFunction
{
    private readonly WeightedComponent[] components;

    /// <summary>A weighted sum.</summary>
    /// <exception cref="ArgumentException">There is no component, two have the same name, or a weight is not finite.</exception>
    public WeightedReward(params IReadOnlyList<WeightedComponent> components)
    {
        if (components.Count == 0)
            throw new ArgumentException("A weighted reward needs at least one component.");
        if (components.GroupBy(c => c.Reward.Name).FirstOrDefault(g => g.Count() > 1) is { } twice)
            throw new ArgumentException($"Two components of the weighted reward are called '{twice.Key}'; give each its own " +
                "name.");
        if (components.FirstOrDefault(c => !double.IsFinite(c.Weight)) is { } odd)
            throw new ArgumentException($"The weight of '{odd.Reward.Name}' is {odd.Weight}; it must be finite.");
        this.components = [.. components];
    }

    /// <summary>Name used in metrics and reports.</summary>
    public string Name { get; init; } = "weighted";

    /// <inheritdoc/>
    /// <exception cref="RewardException">A component failed, or the sum is not finite.</exception>
    public async ValueTask<IReadOnlyList<float>> ScoreAsync(
        IReadOnlyList<Completion> completions, CancellationToken cancellation = default) =>
        (await ScoreComponentsAsync(completions, cancellation).ConfigureAwait(false)).Total;

    /// <summary>The sums together with each component's scores.</summary>
    /// <exception cref="RewardException">A component failed, or the sum is not finite.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public async ValueTask<WeightedScores> ScoreComponentsAsync(
        IReadOnlyList<Completion> completions, CancellationToken cancellation = default)
    {
        if (completions.Count == 0)
            return new([], [.. components.Select(c => new ScoreComponent(c.Reward.Name, c.Weight, []))]);
        // All are asked before the first is waited for: models compute while services answer, and all on the calling thread.
        var pending = components.Select(c => c.Reward.ScoreAsync(completions, cancellation).AsTask()).ToArray();
        var parts = await Task.WhenAll(pending).ConfigureAwait(false);
        foreach (var (component, scores) in components.Zip(parts))
            RewardChecks.Check(component.Reward.Name, completions, scores);
        var total = Enumerable.Range(0, completions.Count)
            .Select(i => (float)components.Select((c, k) => c.Weight * parts[k][i]).Sum()).ToArray();
        return new WeightedScores(RewardChecks.Check(Name, completions, total),
            [.. components.Select((c, k) => new ScoreComponent(c.Reward.Name, c.Weight, parts[k]))]);
    }

    /// <summary>Disposes the components' rewards.</summary>
    public void Dispose()
    {
        foreach (var component in components)
            component.Reward.Dispose();
    }
}
