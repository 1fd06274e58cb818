namespace Rlhf.Rewards;

/// <summary>A reward that is any function.</summary>
public sealed class DelegateReward : IRewardFunction
{
    private readonly Func<IReadOnlyList<Completion>, IReadOnlyList<float>> score;

    /// <summary>A reward from a function of a whole batch.</summary>
    /// <param name="name">Name used in metrics and reports.</param>
    /// <param name="score">One score per completion, in the order given.</param>
    public DelegateReward(string name, Func<IReadOnlyList<Completion>, IReadOnlyList<float>> score) =>
        (Name, this.score) = (name, score);

    /// <summary>A reward from a function of one completion.</summary>
    /// <param name="name">Name used in metrics and reports.</param>
    /// <param name="score">The completion's score.</param>
    public DelegateReward(string name, Func<Completion, float> score) : this(name, batch => [.. batch.Select(score)])
    {
    }

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    /// <exception cref="RewardException">The function returned a wrong number of scores, or one that is not finite.</exception>
    public IReadOnlyList<float> Score(IReadOnlyList<Completion> completions) =>
        RewardChecks.Check(Name, completions, score(completions));
}
