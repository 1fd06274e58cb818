using Rlhf.Training.Groups;

namespace Rlhf.Training.Rloo;

/// <summary>The mathematics of REINFORCE leave-one-out (Ahmadian et al. 2024, https://arxiv.org/abs/2402.14740).</summary>
/// <remarks>Notation: B answers, groups of G in a row.</remarks>
public static class RlooMath
{
    /// <summary>Each answer's reward less the mean reward of the others to the same prompt.</summary>
    /// <param name="rewards">Rewards [B], with the KL penalty taken off.</param>
    /// <param name="groupSize">G, at least 2.</param>
    /// <param name="normalize">Take the mean over all away and divide by their deviation.</param>
    public static GroupAdvantages Advantages(IReadOnlyList<double> rewards, int groupSize, bool normalize)
    {
        double[] deviations = [.. rewards.Chunk(groupSize).SelectMany(group => group.Select(_ => GroupMath.Deviation(group)))];
        double[] advantages = [.. rewards.Chunk(groupSize).SelectMany(group =>
            group.Select(reward => reward - (group.Sum() - reward) / (groupSize - 1)))];
        if (normalize)
        {
            double mean = advantages.Average(), deviation = GroupMath.Deviation(advantages) + GroupMath.Epsilon;
            advantages = [.. advantages.Select(a => (a - mean) / deviation)];
        }
        return new([.. advantages.Select(a => (float)a)], deviations);
    }

    /// <summary>Rewards [B] with β · KL taken off, the KL of an answer being the sum over its tokens of logprob - ref logprob.</summary>
    /// <param name="scores">Rewards [B].</param>
    /// <param name="logprobs">Logprobs [R] under the policy that answered.</param>
    /// <param name="refLogprobs">Logprobs [R] under the reference.</param>
    /// <param name="mask">1 on counted tokens [R].</param>
    /// <param name="offsets">Start of each answer among the R tokens, and R.</param>
    /// <param name="beta">β.</param>
    public static double[] PenalizedRewards(
        IReadOnlyList<double> scores, float[] logprobs, float[] refLogprobs, float[] mask, int[] offsets, double beta)
    {
        var rewards = scores.ToArray();
        for (int b = 0; b < rewards.Length; b++)
            for (int i = offsets[b]; i < offsets[b + 1]; i++)
                rewards[b] -= beta * (logprobs[i] - refLogprobs[i]) * mask[i];
        return rewards;
    }
}
