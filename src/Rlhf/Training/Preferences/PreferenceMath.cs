using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace Rlhf.Training.Preferences;

/// <summary>The losses of pairs and of single answers, as pure functions of logprobs.</summary>
/// <remarks>
/// Notation: B pairs or answers. y_w and y_l are the chosen and the rejected answer, π the policy, ρ the reference; a logprob of an answer
/// is the sum over its tokens, or where a loss says so, their mean. r = log π(y) - log ρ(y). All are differentiable in π.
/// </remarks>
internal static class PreferenceMath
{
    // TRL cuts exponents off before float32 overflows: log(finfo.max), rounded down to four decimals.
    private const double LargestExponent = 88.7228;

    /// <summary>Losses [B] of pairs with a reference, DPO's and its kin's.</summary>
    /// <param name="config">Which loss, β, and the rest.</param>
    /// <param name="chosen">log π(y_w) [B].</param>
    /// <param name="rejected">log π(y_l) [B].</param>
    /// <param name="refChosen">log ρ(y_w) [B]; zeros where the loss is free of a reference.</param>
    /// <param name="refRejected">log ρ(y_l) [B].</param>
    public static Tensor PairLosses(DpoConfig config, Tensor chosen, Tensor rejected, Tensor refChosen, Tensor refRejected)
    {
        double beta = config.Beta, smoothing = config.LabelSmoothing;
        Tensor chosenRatio = chosen - refChosen, rejectedRatio = rejected - refRejected;
        switch (config.Loss)
        {
            case PreferenceLoss.SppoHard:
                return (chosenRatio - 0.5 / beta).square() + (rejectedRatio + 0.5 / beta).square();
            case PreferenceLoss.NcaPair:
                return -logsigmoid(chosenRatio * beta) - 0.5 * logsigmoid(chosenRatio * -beta) - 0.5 * logsigmoid(rejectedRatio * -beta);
            case PreferenceLoss.ApoZero:
                return 1 - (chosenRatio * beta).sigmoid() + (rejectedRatio * beta).sigmoid();
            case PreferenceLoss.ApoDown:
                return (chosenRatio * beta).sigmoid() + 1 - ((chosenRatio - rejectedRatio) * beta).sigmoid();
            case PreferenceLoss.AotPair:
                return Smoothed((Sorted(chosenRatio) - Sorted(rejectedRatio)) * beta, smoothing);
            case PreferenceLoss.Aot:
                return Smoothed((Sorted(chosen - rejected) - Sorted(refChosen - refRejected)) * beta, smoothing);
        }
        var logits = Margins(config, chosenRatio, rejectedRatio);
        return config.Loss switch
        {
            PreferenceLoss.Sigmoid => Smoothed(logits * beta, smoothing),
            PreferenceLoss.Robust => (logsigmoid(logits * -beta) * smoothing - logsigmoid(logits * beta) * (1 - smoothing)) / (1 - 2 * smoothing),
            PreferenceLoss.ExoPair => Exo(logits * beta, smoothing == 0 ? 1e-3 : smoothing),
            PreferenceLoss.Hinge => relu(1 - logits * beta),
            PreferenceLoss.Ipo => (logits - 1 / (2 * beta)).square(),
            _ => throw new ArgumentException($"{config.Loss} is not a loss of pairs with a reference."),
        };
    }

    /// <summary>Losses [B] of CPO and SimPO, without the cross entropy beside them.</summary>
    public static Tensor ContrastiveLosses(DpoConfig config, Tensor chosen, Tensor rejected)
    {
        double beta = config.Beta;
        var logits = chosen - rejected;
        return config.Loss switch
        {
            PreferenceLoss.Cpo => Smoothed(logits * beta, config.LabelSmoothing),
            PreferenceLoss.Simpo => Smoothed(logits * beta - config.SimpoGamma, config.LabelSmoothing),
            PreferenceLoss.CpoHinge => relu(1 - logits * beta),
            PreferenceLoss.CpoIpo => (logits - 1 / (2 * beta)).square(),
            _ => throw new ArgumentException($"{config.Loss} is not a loss of CPO or SimPO."),
        };
    }

    /// <summary>
    /// ORPO's log odds [B] of the chosen over the rejected answer, log(odds(y_w) / odds(y_l)) with odds = p / (1 - p) and p the geometric
    /// mean of the tokens' probabilities. The loss of a pair is -β · log σ of it.
    /// </summary>
    /// <param name="chosen">Mean logprob of the chosen answer's tokens [B].</param>
    /// <param name="rejected">Mean logprob of the rejected answer's tokens [B].</param>
    public static Tensor LogOdds(Tensor chosen, Tensor rejected) =>
        chosen - rejected - ((-chosen.exp()).log1p() - (-rejected.exp()).log1p());

    /// <summary>Losses [B] of single answers, before their weights.</summary>
    /// <param name="loss">Which loss.</param>
    /// <param name="ratio">r [B], differentiable.</param>
    /// <param name="isDesirable">1 for good answers, -1 for bad ones [B].</param>
    /// <param name="kl">The KL divergence that gains and losses are measured from, at least 0.</param>
    /// <param name="beta">β.</param>
    public static Tensor AnswerLosses(KtoLoss loss, Tensor ratio, Tensor isDesirable, double kl, double beta) =>
        1 - ((ratio - (loss == KtoLoss.Kto ? kl : 0)) * isDesirable * beta).sigmoid();

    /// <summary>How much further the chosen answer is from the reference than the rejected one [B]: the logit of the preference over β.</summary>
    private static Tensor Margins(DpoConfig config, Tensor chosenRatio, Tensor rejectedRatio)
    {
        switch (config.DivergenceType)
        {
            case FDivergence.AlphaDivergence:
                // (1 - u_w^-α) / α - (1 - u_l^-α) / α, u = π / ρ
                double alpha = config.AlphaDivergenceCoef;
                return (Exponential(rejectedRatio * -alpha) - Exponential(chosenRatio * -alpha)) / alpha;
            case FDivergence.JsDivergence:
                // log(2 u_w / (1 + u_w)) - log(2 u_l / (1 + u_l))
                return chosenRatio - rejectedRatio - (SoftPlus(chosenRatio) - SoftPlus(rejectedRatio));
            default:
                return chosenRatio - rejectedRatio;
        }
    }

    private static Tensor Exponential(Tensor x) => x.clamp(max: LargestExponent).exp();

    /// <summary>log(1 + e^x), for large x too: torch's softplus.</summary>
    private static Tensor SoftPlus(Tensor x) => softplus(x, 1, 20);

    /// <summary>-(1 - ε) log σ(x) - ε log σ(-x).</summary>
    private static Tensor Smoothed(Tensor x, double smoothing) =>
        smoothing == 0 ? -logsigmoid(x) : -logsigmoid(x) * (1 - smoothing) - logsigmoid(-x) * smoothing;

    private static Tensor Exo(Tensor x, double smoothing) =>
        x.sigmoid() * (logsigmoid(x) - Math.Log(1 - smoothing)) + (-x).sigmoid() * (logsigmoid(-x) - Math.Log(smoothing));

    private static Tensor Sorted(Tensor x) => x.sort(0).Values;
}
