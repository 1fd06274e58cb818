using Rlhf.Rewards;
using Rlhf.Training.Groups;
using static TorchSharp.torch;

namespace Rlhf.Training.Grpo;

/// <summary>The mathematics of group relative policy optimization (Shao et al. 2024, https://arxiv.org/abs/2402.03300) and its kin.</summary>
/// <remarks>Notation: B answers, groups of G in a row; K rewards; r counted tokens of b answers.</remarks>
public static class GrpoMath
{
    /// <summary>(reward - mean of its group) / deviation.</summary>
    /// <param name="rewards">Rewards [B].</param>
    /// <param name="groupSize">G.</param>
    /// <param name="scale">What the difference is divided by.</param>
    public static GroupAdvantages Advantages(IReadOnlyList<double> rewards, int groupSize, RewardScale scale)
    {
        double[] means = GroupMath.Means(rewards, groupSize);
        double[] ofGroups = [.. rewards.Chunk(groupSize).Select(GroupMath.Deviation)];
        double ofAll = GroupMath.Deviation([.. rewards]);
        double[] deviations = [.. rewards.Select((_, b) => scale == RewardScale.Batch ? ofAll : ofGroups[b / groupSize])];
        return new([.. rewards.Select((reward, b) =>
            (float)((reward - means[b / groupSize]) / (scale == RewardScale.None ? 1 : deviations[b] + GroupMath.Epsilon)))], deviations);
    }

    /// <summary>Each reward normalized within its group; their weighted sum normalized over all answers.</summary>
    /// <param name="components">K rewards with their weights.</param>
    /// <param name="groupSize">G.</param>
    public static GroupAdvantages NormalizeThenSum(IReadOnlyList<ScoreComponent> components, int groupSize)
    {
        double[][] normalized = [.. components.Select(component => component.Scores.Select(s => (double)s).Chunk(groupSize).SelectMany(group =>
        {
            double mean = group.Average(), deviation = GroupMath.Deviation(group) + GroupMath.Epsilon;
            return group.Select(s => (s - mean) / deviation);
        }).ToArray())];
        double[] sums = [.. Enumerable.Range(0, normalized[0].Length).Select(b => components.Select((c, k) => c.Weight * normalized[k][b]).Sum())];
        double average = sums.Average(), ofAll = GroupMath.Deviation(sums);
        return new([.. sums.Select(s => (float)((s - average) / (ofAll + GroupMath.Epsilon)))], [.. sums.Select(_ => ofAll)]);
    }

    /// <summary>SAPO's soft gate σ(τ (ratio - 1)) · 4 / τ, whose slope at ratio 1 is 1; differentiable.</summary>
    /// <param name="ratio">Ratios [r].</param>
    /// <param name="advantages">Advantages [r].</param>
    /// <param name="positive">τ of advantages above 0.</param>
    /// <param name="negative">τ of the others.</param>
    public static Tensor SoftGate(Tensor ratio, Tensor advantages, double positive, double negative)
    {
        var temperature = where(advantages.gt(0), full_like(advantages, positive), full_like(advantages, negative));
        return (temperature * (ratio - 1)).sigmoid() * 4 / temperature;
    }

    /// <summary>1 at the counted tokens whose entropy reaches the top share, else 0 [r].</summary>
    /// <param name="entropies">Entropies [r].</param>
    /// <param name="mask">1 on counted tokens [r].</param>
    /// <param name="share">The top share, below 1.</param>
    public static Tensor HighEntropy(Tensor entropies, Tensor mask, double share)
    {
        float[] values = entropies.cpu().data<float>().ToArray(), counts = mask.cpu().data<float>().ToArray();
        float[] counted = [.. values.Where((_, i) => counts[i] != 0)];
        return counted.Length == 0 ? zeros_like(mask) : entropies.ge(GroupMath.Quantile(counted, 1 - share)).to(float32) * mask;
    }
}
