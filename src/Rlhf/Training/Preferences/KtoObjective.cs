using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Runtime.Operators;
using Rlhf.Training.Loop;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Training.Preferences;

/// <summary>
/// Kahneman and Tversky's optimization (Ethayarajh et al. 2024): a policy learns from single answers that somebody liked or did not, which
/// are far easier to come by than pairs.
/// </summary>
/// <remarks>
/// Notation: B answers of a minibatch. The KL divergence that gains and losses are measured from is estimated on mismatched answers: each
/// prompt with the answer of the example before it, the first with the last one's. It has no gradient and is at least 0. As in TRL,
/// there is no dropout.
/// </remarks>
/// <param name="policy">The model to train, in place; it stays the caller's.</param>
/// <param name="reference">What it is compared with; stays the caller's.</param>
/// <param name="config">The settings.</param>
public sealed class KtoObjective(CausalLM policy, Reference reference, KtoConfig config) : IObjective<AnswerExample>
{
    /// <inheritdoc/>
    public string Name => "kto";

    /// <inheritdoc/>
    public IReadOnlyList<KeyValuePair<string, Parameter>> Trained => policy.TrainedParameters;

    /// <inheritdoc/>
    public string ModelFile => policy.TrainedFile;

    /// <summary>1: an answer is an answer.</summary>
    public double Weight(AnswerExample example) => 1;

    /// <inheritdoc/>
    public int Length(AnswerExample example) => example.Length;

    /// <inheritdoc/>
    public void Check(IReadOnlyList<AnswerExample> examples)
    {
        if (examples.FirstOrDefault(e => e.Prompt.Length == 0 || e.Completion.Length == 0) is not null)
            throw new ArgumentException("An example has an empty prompt or answer; leave such examples out.");
        if (examples.Max(e => e.Length) is var longest && longest > policy.MaxPositions)
            throw new ArgumentException($"An example has {longest} tokens, but the model reads at most {policy.MaxPositions}; lower MaxLength.");
    }

    /// <inheritdoc/>
    public Part ForwardBackward(IReadOnlyList<AnswerExample> minibatch, double share)
    {
        using var scope = NewDisposeScope();
        using var mode = policy.InMode(training: false);
        using var rows = Rows(minibatch);
        // 1. Where gains and losses are measured from, and what the reference says of the answers.
        double kl = Kl(minibatch);
        var known = rows.SumPerRow(reference.Logprobs(rows));
        var hidden = rows.Hidden(policy.Forward(rows.Batch));

        // 2. Logprobs of the policy, the loss of the answers, and its gradient by each token's logprob.
        Part part = default;
        var pass = policy.Head.ForwardBackward(hidden, rows.Targets, scores =>
        {
            using var withGradient = enable_grad();
            var logprobs = scores.Logprobs.detach().requires_grad_(true);
            var loss = Loss(minibatch, rows, logprobs, known, kl);
            BackwardPass.Run(() => (loss.Losses.sum() * share).backward());
            part = loss.ToPart(rows.Batch.TokenCount);
            return logprobs.grad;
        });

        // 3. The gradient of the rest of the model.
        BackwardPass.Run(() => hidden.backward([pass.HiddenGradient]));
        return part;
    }

    /// <inheritdoc/>
    public Part Evaluate(IReadOnlyList<AnswerExample> minibatch)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var mode = policy.InMode(training: false);
        using var rows = Rows(minibatch);
        return Forward(minibatch, rows).ToPart(rows.Batch.TokenCount);
    }

    /// <summary>rewards/margins, as TRL has it: the mean reward of good answers less that of bad ones, where there are both.</summary>
    public IEnumerable<KeyValuePair<string, double>> Derived(IReadOnlyDictionary<string, double> means) =>
        means.TryGetValue("rewards/chosen", out double chosen) && means.TryGetValue("rewards/rejected", out double rejected)
            ? [new("rewards/margins", chosen - rejected)] : [];

    internal AnswerLoss Forward(IReadOnlyList<AnswerExample> minibatch, ScoredRows rows)
    {
        double kl = Kl(minibatch);
        return Loss(minibatch, rows, policy.Head.Logprobs(rows.Hidden(policy.Forward(rows.Batch)), rows.Targets),
            rows.SumPerRow(reference.Logprobs(rows)), kl);
    }

    internal ScoredRows Rows(IReadOnlyList<AnswerExample> minibatch) =>
        ScoredRows.Of([.. minibatch.Select(e => TokenRow.Of(e.Prompt, e.Completion))], policy.Device);

    /// <summary>The KL estimate of a minibatch; 0 where there is no other answer to take, and for a loss without it.</summary>
    private double Kl(IReadOnlyList<AnswerExample> minibatch)
    {
        if (config.Loss != KtoLoss.Kto || minibatch.Count < 2)
            return 0;
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var rows = ScoredRows.Of([.. minibatch.Select((e, b) => Mismatched(e.Prompt, minibatch[b == 0 ? ^1 : b - 1].Completion))], policy.Device);
        var logprobs = policy.Head.Logprobs(rows.Hidden(policy.Forward(rows.Batch)), rows.Targets);
        return Math.Max(0, rows.SumPerRow(logprobs - reference.Logprobs(rows)).mean().cpu().item<float>());
    }

    /// <summary>A prompt with another's answer; where both do not fit, the prompt loses its beginning.</summary>
    private TokenRow Mismatched(int[] prompt, int[] completion) =>
        TokenRow.Of(prompt[Math.Clamp(prompt.Length + completion.Length - policy.MaxPositions, 0, prompt.Length - 1)..], completion);

    /// <summary>The losses of a minibatch from the logprobs [r] of its answers' tokens, differentiable in them.</summary>
    private AnswerLoss Loss(IReadOnlyList<AnswerExample> minibatch, ScoredRows rows, Tensor logprobs, Tensor known, double kl)
    {
        var logps = rows.SumPerRow(logprobs);
        var ratio = logps - known;
        var sign = tensor(minibatch.Select(e => e.IsDesirable ? 1f : -1f).ToArray(), device: policy.Device);
        var weights = tensor(minibatch.Select(e => (float)(e.IsDesirable ? config.DesirableWeight : config.UndesirableWeight)).ToArray(), device: policy.Device);
        var losses = PreferenceMath.AnswerLosses(config.Loss, ratio, sign, kl, config.Beta) * weights;
        return new(losses, logps.detach(), known, (ratio * config.Beta).detach(), [.. minibatch.Select(e => e.IsDesirable)], kl);
    }
}

/// <summary>The loss of B answers, and what is reported of it.</summary>
/// <param name="Losses">Weighted losses [B]; differentiable.</param>
/// <param name="Logps">Logprobs [B] of the answers.</param>
/// <param name="RefLogps">The same under the reference.</param>
/// <param name="Rewards">Rewards β · (log π(y) - log ρ(y)) [B].</param>
/// <param name="IsDesirable">Thumbs up?</param>
/// <param name="Kl">The KL estimate.</param>
internal sealed record AnswerLoss(Tensor Losses, Tensor Logps, Tensor RefLogps, Tensor Rewards, bool[] IsDesirable, double Kl)
{
    /// <summary>Sums under TRL's names: means of good answers are over good answers, those of bad ones over bad ones.</summary>
    public Part ToPart(long tokens)
    {
        float[] rewards = Rewards.cpu().data<float>().ToArray(), logps = Logps.cpu().data<float>().ToArray();
        int good = IsDesirable.Count(x => x), bad = IsDesirable.Length - good;
        double Sum(float[] values, bool desirable) => values.Where((_, b) => IsDesirable[b] == desirable).Sum(v => (double)v);
        var sums = new Dictionary<string, double>
        {
            ["kl"] = Kl * IsDesirable.Length,
            // A good answer is right above the reference, a bad one below it.
            ["rewards/accuracies"] = rewards.Where((r, b) => IsDesirable[b] ? r > 0 : r < 0).Count(),
        };
        var counts = new Dictionary<string, double>();
        foreach (var (name, desirable, count) in new[] { ("chosen", true, good), ("rejected", false, bad) })
        {
            (sums["rewards/" + name], counts["rewards/" + name]) = (Sum(rewards, desirable), count);
            (sums["logps/" + name], counts["logps/" + name]) = (Sum(logps, desirable), count);
        }
        return new(Losses.detach().sum().cpu().item<float>(), tokens) { Sums = sums, Counts = counts };
    }
}
