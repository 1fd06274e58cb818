using static TorchSharp.torch;

namespace Rlhf.Training.RewardModeling;

/// <summary>
/// What a reward model minimizes. Losses are sums over rows: the trainer divides by the rows of a whole optimizer step.
/// </summary>
/// <remarks>B rows (texts or pairs), C labels.</remarks>
public static class RewardLosses
{
    /// <summary>Cross entropy -Σ ln softmax(logits)[label], a scalar.</summary>
    /// <param name="logits">[B, C].</param>
    /// <param name="labels">[B], int64, each from 0 to C - 1.</param>
    public static Tensor CrossEntropy(Tensor logits, Tensor labels) =>
        nn.functional.cross_entropy(logits, labels, reduction: nn.Reduction.Sum);

    /// <summary>
    /// Bradley and Terry's negative log-likelihood that the chosen text wins, -Σ ln σ(chosen - rejected - margin), a scalar.
    /// </summary>
    /// <param name="chosen">Rewards of the chosen texts [B].</param>
    /// <param name="rejected">Rewards of the rejected texts [B].</param>
    /// <param name="margins">
    /// By how much each chosen text should at least win [B]; null is 0 (Touvron et al. 2023, 3.2.2).
    /// </param>
    /// <param name="centerRewardsCoefficient">
    /// Weight of the penalty Σ (chosen + rejected)² that keeps rewards near 0, which differences alone leave free (Eisenstein et
    /// al. 2023).
    /// </param>
    public static Tensor BradleyTerry(
        Tensor chosen, Tensor rejected, Tensor? margins = null, double? centerRewardsCoefficient = null)
    {
        var lead = chosen - rejected;
        var loss = -nn.functional.logsigmoid(margins is null ? lead : lead - margins).sum();
        return centerRewardsCoefficient is { } weight ? loss + weight * (chosen + rejected).square().sum() : loss;
    }
}
