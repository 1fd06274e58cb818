using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Runtime.Operators;
using Rlhf.Training.Loop;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Training.Preferences;

/// <summary>
/// Direct preference optimization (Rafailov et al. 2023) and its kin: a policy learns from pairs without a reward model, since the
/// log ratio to a reference is a reward that it carries itself.
/// </summary>
/// <remarks>
/// Notation: a minibatch of B pairs is 2B rows, all chosen ones first, with r counted tokens: those of the answers, and for ORPO also the
/// prompts' of the chosen rows. As in TRL, there is no dropout.
/// </remarks>
/// <param name="policy">The model to train, in place; it stays the caller's.</param>
/// <param name="reference">What it is compared with; stays the caller's. May be null where every example brings the reference's logprobs,
/// and where <see cref="DpoConfig.UsesReference"/> is false.</param>
/// <param name="config">The settings.</param>
public sealed class DpoObjective(CausalLM policy, Reference? reference, DpoConfig config) : IObjective<PairExample>
{
    /// <inheritdoc/>
    public string Name => "dpo";

    /// <inheritdoc/>
    public IReadOnlyList<KeyValuePair<string, Parameter>> Trained => policy.TrainedParameters;

    /// <inheritdoc/>
    public string ModelFile => policy.TrainedFile;

    /// <summary>1: a pair is a pair.</summary>
    public double Weight(PairExample example) => 1;

    /// <inheritdoc/>
    public int Length(PairExample example) => example.Length;

    /// <inheritdoc/>
    public void Check(IReadOnlyList<PairExample> examples)
    {
        if (examples.FirstOrDefault(e => e.Prompt.Length == 0 || e.Chosen.Length == 0 || e.Rejected.Length == 0) is not null)
            throw new ArgumentException("A pair has an empty prompt or answer; leave such pairs out.");
        if (examples.Select(e => e.Prompt.Length + Math.Max(e.Chosen.Length, e.Rejected.Length)).Max() is var longest && longest > policy.MaxPositions)
            throw new ArgumentException($"A pair has {longest} tokens, but the model reads at most {policy.MaxPositions}; lower MaxLength.");
        if (config.UsesReference && reference is null && examples.Any(e => e.Reference is null))
            throw new ArgumentException($"{config.Loss} compares with a reference, and neither a model nor its logprobs are given.");
    }

    /// <inheritdoc/>
    public Part ForwardBackward(IReadOnlyList<PairExample> minibatch, double share)
    {
        using var scope = NewDisposeScope();
        using var mode = policy.InMode(training: false);
        using var rows = Rows(minibatch);
        // 1. What the reference says of the answers.
        var known = ReferenceLogprobs(minibatch, rows);
        var hidden = rows.Hidden(policy.Forward(rows.Batch));

        // 2. Logprobs of the policy, the loss of the pairs, and its gradient by each token's logprob.
        Part part = default;
        var pass = policy.Head.ForwardBackward(hidden, rows.Targets, scores =>
        {
            using var withGradient = enable_grad();
            var logprobs = scores.Logprobs.detach().requires_grad_(true);
            var loss = Loss(minibatch, rows, logprobs, known);
            BackwardPass.Run(() => (loss.Sum * share).backward());
            part = loss.ToPart(rows.TokenCount);
            return logprobs.grad;
        });

        // 3. The gradient of the rest of the model.
        BackwardPass.Run(() => hidden.backward([pass.HiddenGradient]));
        return part;
    }

    /// <inheritdoc/>
    public Part Evaluate(IReadOnlyList<PairExample> minibatch)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var mode = policy.InMode(training: false);
        using var rows = Rows(minibatch);
        return Forward(minibatch, rows).ToPart(rows.TokenCount);
    }

    /// <summary>The rewards β · (log π(y) - log ρ(y)) of both answers of each pair, without gradient.</summary>
    internal (float[] Chosen, float[] Rejected) Rewards(IReadOnlyList<PairExample> minibatch)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var mode = policy.InMode(training: false);
        using var rows = Rows(minibatch);
        var loss = Forward(minibatch, rows);
        return (loss.ChosenRewards.cpu().data<float>().ToArray(), loss.RejectedRewards.cpu().data<float>().ToArray());
    }

    /// <summary>Logprobs of a minibatch's answers under a reference, summed over their tokens.</summary>
    internal static ReferenceLogps[] ReferenceLogpsOf(Reference reference, IReadOnlyList<PairExample> minibatch)
    {
        using var scope = NewDisposeScope();
        using var rows = ScoredRows.Of([.. minibatch.Select(e => TokenRow.Of(e.Prompt, e.Chosen)), .. minibatch.Select(e => TokenRow.Of(e.Prompt, e.Rejected))],
            PromptLengths(minibatch), reference.Model);
        var sums = rows.SumPerRow(reference.Logprobs(rows)).cpu().data<float>().ToArray();
        return [.. minibatch.Select((_, b) => new ReferenceLogps(sums[b], sums[minibatch.Count + b]))];
    }

    internal PairLoss Forward(IReadOnlyList<PairExample> minibatch, ScoredRows rows)
    {
        var known = ReferenceLogprobs(minibatch, rows);
        return Loss(minibatch, rows, policy.Head.Logprobs(rows.Hidden(policy.Forward(rows.Batch)), rows.Targets), known);
    }

    internal ScoredRows Rows(IReadOnlyList<PairExample> minibatch) => ScoredRows.Of(
    [
        .. minibatch.Select(e => config.Loss == PreferenceLoss.Orpo ? TokenRow.From([.. e.Prompt, .. e.Chosen], 1) : TokenRow.Of(e.Prompt, e.Chosen)),
        .. minibatch.Select(e => TokenRow.Of(e.Prompt, e.Rejected)),
    ], PromptLengths(minibatch), [policy, .. reference is null || config.LearnsAlone ? [] : (CausalLM[])[reference.Model]]);

    /// <summary>Both answers of a pair are of one prompt, which is read once.</summary>
    private static int[] PromptLengths(IReadOnlyList<PairExample> minibatch) => [.. minibatch.Concat(minibatch).Select(e => e.Prompt.Length)];

    /// <summary>The reference's logprobs [2B] of the answers, summed; null where there is no reference to compare with.</summary>
    private Tensor? ReferenceLogprobs(IReadOnlyList<PairExample> minibatch, ScoredRows rows)
    {
        if (config.LearnsAlone)
            return null;
        if (minibatch.All(e => e.Reference is not null))
            return tensor([.. minibatch.Select(e => e.Reference!.Value.Chosen), .. minibatch.Select(e => e.Reference!.Value.Rejected)], device: policy.Device);
        return reference is null ? null : rows.SumPerRow(reference.Logprobs(rows));
    }

    /// <summary>The loss of a minibatch from the logprobs [r] of its counted tokens, differentiable in them.</summary>
    private PairLoss Loss(IReadOnlyList<PairExample> minibatch, ScoredRows rows, Tensor logprobs, Tensor? known)
    {
        long pairs = minibatch.Count;
        Tensor First(Tensor both) => both.narrow(0, 0, pairs);
        Tensor Second(Tensor both) => both.narrow(0, pairs, pairs);

        // Logprobs of whole answers, or their means per token.
        var ofAnswers = rows.SumPerRow(config.Loss == PreferenceLoss.Orpo ? logprobs * AnswerMask(minibatch, logprobs.device) : logprobs);
        var lengths = tensor([.. minibatch.Select(e => (float)e.Chosen.Length), .. minibatch.Select(e => (float)e.Rejected.Length)], device: policy.Device);
        var logps = config.IsPerToken ? ofAnswers / lengths : ofAnswers;
        var refLogps = known is null ? null : config.IsPerToken ? known / lengths : known;
        Tensor chosen = First(logps), rejected = Second(logps);

        // Cross entropy of the chosen rows: the mean over all their counted tokens.
        var crossEntropy = config.CrossEntropyWeight == 0 ? null : -logprobs.narrow(0, 0, rows.Offsets[(int)pairs]).mean();
        var logOdds = config.Loss == PreferenceLoss.Orpo ? PreferenceMath.LogOdds(chosen, rejected) : null;
        var zeros = zeros_like(chosen);
        bool compares = refLogps is not null && !config.ReferenceFree;
        var losses = logOdds is not null ? nn.functional.logsigmoid(logOdds) * -config.Beta
            : config.IsContrastive ? PreferenceMath.ContrastiveLosses(config, chosen, rejected)
            : PreferenceMath.PairLosses(config, chosen, rejected, compares ? First(refLogps!) : zeros, compares ? Second(refLogps!) : zeros);
        var sum = crossEntropy is null ? losses.sum() : losses.sum() + crossEntropy * (config.CrossEntropyWeight * pairs);
        var rewards = ((refLogps is null ? logps : logps - refLogps) * config.Beta).detach();
        return new(sum, losses.detach(), logps.detach(), refLogps, First(rewards), Second(rewards), crossEntropy?.detach(), logOdds?.detach());
    }

    /// <summary>Of all counted tokens [r], 1 for those of answers: for ORPO, whose chosen rows count their prompts, too.</summary>
    private static Tensor AnswerMask(IReadOnlyList<PairExample> minibatch, Device device) => tensor(
    [
        .. minibatch.SelectMany(e => Enumerable.Repeat(0f, e.Prompt.Length - 1).Concat(Enumerable.Repeat(1f, e.Chosen.Length))),
        .. minibatch.SelectMany(e => Enumerable.Repeat(1f, e.Rejected.Length)),
    ], device: device);
}

/// <summary>The loss of B pairs, and what is reported of it.</summary>
/// <param name="Sum">The loss summed over the pairs, a scalar; differentiable.</param>
/// <param name="Losses">Losses [B] of the pairs, without cross entropy.</param>
/// <param name="Logps">Logprobs [2B] of the answers, chosen ones first: sums or means per token.</param>
/// <param name="RefLogps">The same under the reference, where there is one.</param>
/// <param name="ChosenRewards">Rewards [B] of the chosen answers.</param>
/// <param name="RejectedRewards">Rewards [B] of the rejected answers.</param>
/// <param name="CrossEntropy">Mean cross entropy of the chosen rows, a scalar, where the loss has it.</param>
/// <param name="LogOdds">ORPO's log odds [B].</param>
internal sealed record PairLoss(
    Tensor Sum, Tensor Losses, Tensor Logps, Tensor? RefLogps, Tensor ChosenRewards, Tensor RejectedRewards, Tensor? CrossEntropy, Tensor? LogOdds)
{
    /// <summary>Sums under TRL's names.</summary>
    public Part ToPart(long tokens)
    {
        long pairs = ChosenRewards.shape[0];
        var sums = new Dictionary<string, double>
        {
            ["rewards/chosen"] = Total(ChosenRewards),
            ["rewards/rejected"] = Total(RejectedRewards),
            ["rewards/accuracies"] = Total(ChosenRewards.gt(RejectedRewards)),
            ["rewards/margins"] = Total(ChosenRewards - RejectedRewards),
            ["logps/chosen"] = Total(Logps.narrow(0, 0, pairs)),
            ["logps/rejected"] = Total(Logps.narrow(0, pairs, pairs)),
        };
        if (CrossEntropy is not null)
            sums["nll_loss"] = Total(CrossEntropy) * pairs;
        if (LogOdds is not null)
        {
            sums["log_odds_ratio"] = Total(nn.functional.logsigmoid(LogOdds));
            sums["log_odds_chosen"] = Total(LogOdds);
        }
        return new(Total(Sum), tokens) { Sums = sums };
    }

    private static double Total(Tensor values) => values.detach().to(float64).sum().cpu().item<double>();
}
