namespace Rlhf.Rewards;

/// <summary>A reward that is any function.</summary>
public sealed class DelegateReward : IRewardFunction
{
    private readonly Func<IReadOnlyList<Completion>, CancellationToken, ValueTask<IReadOnlyList<float>>> score;

    /// <summary>A reward from a function of a whole batch that may wait for something.</summary>
    /// <param name="name">Name used in metrics and reports.</param>
    /// <param name="score">One score per completion, in the order given.</param>
    public DelegateReward(string name, Func<IReadOnlyList<Completion>, CancellationToken, ValueTask<IReadOnlyList<float>>> score) =>
        (Name, this.score) = (name, score);

    /// <summary>A reward from a function of a whole batch.</summary>
    /// <param name="name">Name used in metrics and reports.</param>
    /// <param name="score">One score per completion, in the order given.</param>
    public DelegateReward(string name, Func<IReadOnlyList<Completion>, IReadOnlyList<float>> score)
        : this(name, (batch, _) => new ValueTask<IReadOnlyList<float>>(score(batch)))
    {
    }

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
    public async ValueTask<IReadOnlyList<float>> ScoreAsync(
        IReadOnlyList<Completion> completions, CancellationToken cancellation = default) =>
        RewardChecks.Check(Name, completions, await score(completions, cancellation).ConfigureAwait(false));

    /// <summary>Does nothing: what the function uses is the caller's.</summary>
    public void Dispose()
    {
    }
}
