namespace Rlhf.Rewards;

/// <summary>
/// The seam between rewards, which may be asynchronous, and training, which is not: tensors' dispose scopes and libtorch's modes belong to
/// a thread, so that the thread that trains waits for the scores instead of continuing on another one.
/// </summary>
public static class RewardScores
{
    /// <summary>Scores completions and waits for the result on the calling thread.</summary>
    /// <param name="reward">The reward.</param>
    /// <param name="completions">What to score.</param>
    /// <param name="cancellation">The scores are not needed any more.</param>
    /// <exception cref="RewardException">A score could not be had.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public static IReadOnlyList<float> Score(
        this IRewardFunction reward, IReadOnlyList<Completion> completions, CancellationToken cancellation = default) =>
        Wait(() => reward.ScoreAsync(completions, cancellation));

    /// <summary>As <see cref="Score"/>, with the parts of a weighted sum; any other reward is its only part.</summary>
    public static WeightedScores ScoreComponents(
        this IRewardFunction reward, IReadOnlyList<Completion> completions, CancellationToken cancellation = default)
    {
        if (reward is WeightedReward weighted)
            return Wait(() => weighted.ScoreComponentsAsync(completions, cancellation));
        var scores = reward.Score(completions, cancellation);
        return new(scores, [new(reward.Name, 1, scores)]);
    }

    private static T Wait<T>(Func<ValueTask<T>> ask)
    {
        // Without the caller's context, what the reward awaits cannot need the thread that waits here.
        var context = SynchronizationContext.Current;
        SynchronizationContext.SetSynchronizationContext(null);
        try
        {
            var scores = ask();
            return scores.IsCompleted ? scores.GetAwaiter().GetResult() : scores.AsTask().GetAwaiter().GetResult();
        }
        finally
        {
            SynchronizationContext.SetSynchronizationContext(context);
        }
    }

    /// <summary>As <see cref="Score"/>, for rewards that may not check their scores themselves.</summary>
    /// <returns>One finite score per completion.</returns>
    /// <exception cref="RewardException">There are too few or too many scores, or one is not finite; the
    /// message shows the sample.</exception>
    public static IReadOnlyList<float> ScoreChecked(
        this IRewardFunction reward, IReadOnlyList<Completion> completions, CancellationToken cancellation = default) =>
        completions.Count == 0 ? [] : RewardChecks.Check(reward.Name, completions, reward.Score(completions, cancellation));
}
