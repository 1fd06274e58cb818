namespace Rlhf.Rewards;

/// <summary>
/// Scores completions of queries; higher is better. Any object that can do this can be a reward: a model, a function, a service, a verifier
/// that compares with another column of the row (<see cref="Completion.Fields"/>).
/// </summary>
/// <remarks>
/// A reward owns the models and rewards that it is made of and disposes them with itself. Whoever is only handed a reward, such as a
/// training run or an evaluator, does not dispose it.
/// </remarks>
public interface IRewardFunction : IDisposable
{
    /// <summary>Name used in metrics and reports.</summary>
    string Name { get; }

    /// <summary>One finite score per completion, in the order given.</summary>
    /// <remarks>
    /// A reward that computes with tensors does so before it returns: libtorch's modes and dispose scopes belong to the calling thread. One
    /// that waits for something returns meanwhile, and honors <paramref name="cancellation"/>.
    /// </remarks>
    /// <param name="completions">What to score, in any number.</param>
    /// <param name="cancellation">The scores are not needed any more.</param>
    /// <exception cref="RewardException">A score could not be had.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    ValueTask<IReadOnlyList<float>> ScoreAsync(IReadOnlyList<Completion> completions, CancellationToken cancellation = default);
}
