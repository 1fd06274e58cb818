using Rlhf.Data;
using Rlhf.Models;
using Rlhf.Rewards;
using Rlhf.Tokenizers;

namespace Rlhf.Training.RewardModeling;

/// <summary>What a reward model gave before it was centered.</summary>
/// <param name="Mean">Mean reward; the model's reward is now lower by this.</param>
/// <param name="StandardDeviation">Standard deviation of the reward, which centring does not change.</param>
public sealed record RewardMoments(double Mean, double StandardDeviation);

/// <summary>
/// Moves the zero of a reward model. Pairs only say how much better one answer is than another, so that a trained model's rewards
/// can lie anywhere; PPO's value function starts near 0 and learns the offset at the policy's expense.
/// </summary>
public static class RewardCentering
{
    /// <summary>
    /// Shifts the model's score so that its mean over the answers of these pairs, chosen and rejected, is 0 (Ouyang et al. 2022,
    /// 3.5, where the answers are the labelers' demonstrations). Differences, and so every preference, stay as they are.
    /// </summary>
    /// <param name="model">A model with one label; its parameters change.</param>
    /// <param name="tokenizer">The tokenizer of its folder.</param>
    /// <param name="pairs">The training pairs or a sample of them; at least one.</param>
    /// <exception cref="ArgumentException">There is no pair, or the model has more than one label.</exception>
    /// <exception cref="RewardException">A reward is not finite.</exception>
    public static RewardMoments Center(SequenceClassifier model, ITokenizer tokenizer, IReadOnlyList<PreferencePair> pairs)
    {
        if (pairs.Count == 0)
            throw new ArgumentException("There is no pair; the mean reward is taken over at least one.", nameof(pairs));
        var rewards = new RewardModelReward(model, tokenizer).Score(
            [.. pairs.SelectMany(p => (Completion[])[new(p.Prompt, p.Chosen), new(p.Prompt, p.Rejected)])]);
        double mean = rewards.Average(r => (double)r);
        model.ShiftLogits(-mean);
        return new(mean, Math.Sqrt(rewards.Average(r => (r - mean) * (r - mean))));
    }
}
