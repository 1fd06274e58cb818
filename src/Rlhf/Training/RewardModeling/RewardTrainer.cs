using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Runtime.Operators;
using Rlhf.Tokenizers;
using Rlhf.Training.Checkpoints;
using Rlhf.Training.Optimization;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Training.RewardModeling;

/// <summary>
/// Teaches a sequence classifier what people prefer: from labelled texts (cross entropy) or from pairs of which one text was
/// chosen (Bradley and Terry). <see cref="Run"/> is the training loop of both.
/// </summary>
/// <remarks>
/// Everything random is drawn from streams of (seed, epoch or step), so that on the CPU the same settings and data give the same
/// weights.
/// The model belongs to the caller; it is in evaluation mode between steps.
/// </remarks>
public sealed class RewardTrainer : IResumable, IDisposable
{
    private readonly SequenceClassifier model;
    private readonly RewardConfig config;
    private readonly RewardExamples examples;
    private readonly Adam optimizer;
    private readonly BadSteps badSteps;
    private RewardProgress? last;
    private RewardExample[] lastExamples = [];

    /// <summary>A trainer for a model with the tokenizer of its folder.</summary>
    /// <exception cref="ConfigurationException">A setting cannot be used, alone or with this model.</exception>
    public RewardTrainer(SequenceClassifier model, ITokenizer tokenizer, RewardConfig config)
    {
        List<string> problems = [.. config.Validate()];
        if (config.MaxLength > model.MaxPositions)
            problems.Add($"MaxLength is {config.MaxLength}; this model reads at most {model.MaxPositions} tokens.");
        ConfigurationException.ThrowIfAny(problems);
        (this.model, this.config) = (model, config);
        examples = new RewardExamples(tokenizer, config.MaxLength ?? model.MaxPositions);
        optimizer = new Adam(model.Parameters, config.WeightDecay);
        badSteps = new BadSteps(config.MaxBadSteps);
    }

    /// <inheritdoc/>
    public long StepCount => last?.Step ?? 0;

    /// <inheritdoc/>
    public long ReportedSteps => StepCount - (last is { EvaluationIsDue: true } ? 1 : 0);

    /// <inheritdoc/>
    public Adam Optimizer => optimizer;

    /// <inheritdoc/>
    IEnumerable<KeyValuePair<string, Parameter>> IResumable.ResumableParameters => model.Parameters;

    /// <inheritdoc/>
    public bool IsUsable()
    {
        if (!model.Parameters.AreFinite())
            return false;
        if (lastExamples.Length == 0)
            return true;
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var batch = examples.Pack([.. lastExamples.Take(ModelCheck.Rows)], model.Device);
        return model.Forward(batch).IsFinite();
    }

    /// <summary>Faults that tests put into the run.</summary>
    internal FaultPlan Faults { get; set; } = FaultPlan.Environment;

    /// <summary>
    /// A loss over a minibatch's logits [rows, labels]: summed loss with gradient, and the number of right answers (both
    /// scalars).
    /// </summary>
    private delegate (Tensor Loss, Tensor Correct) Objective(Tensor logits, IReadOnlyList<RewardExample> minibatch);

    /// <summary>Learns labels. The model needs one logit per label.</summary>
    /// <param name="reviews">Texts with labels.</param>
    /// <param name="heldOut">Labelled texts for evaluation; null or empty evaluates nothing.</param>
    /// <param name="progress">Called after each optimizer step, once its evaluation is done.</param>
    /// <param name="cancellation">Stops between steps and within an evaluation; the model then holds the weights of the last step.</param>
    /// <returns>The state after the last step.</returns>
    /// <exception cref="ArgumentException">There is no text, a text has no label, or a label is not one of the
    /// model's.</exception>
    /// <exception cref="ConfigurationException">A setting applies to pairs only.</exception>
    /// <exception cref="TrainingDivergedException">Loss or gradient was not finite in more than
    /// <see cref="RewardConfig.MaxBadSteps"/> steps in a row; the model keeps the weights from before them.</exception>
    public RewardProgress Train(
        IReadOnlyList<Review> reviews, IReadOnlyList<Review>? heldOut = null, Action<RewardProgress>? progress = null,
        CancellationToken cancellation = default)
    {
        if (config.CenterRewardsCoefficient is not null)
            throw new ConfigurationException(
                ["CenterRewardsCoefficient applies to preference pairs; leave it out for labelled texts."]);
        return Run(Encode(reviews), Encode(heldOut ?? []), Classification, progress, cancellation);
    }

    /// <summary>
    /// The pairs that something can be learnt from: those whose two texts, cut to <see cref="RewardConfig.MaxLength"/>, still differ.
    /// </summary>
    /// <param name="pairs">Prompts with a chosen and a rejected response.</param>
    public IReadOnlyList<PreferencePair> Distinguishable(IReadOnlyList<PreferencePair> pairs) =>
        [.. pairs.Zip(Encode(pairs)).Where(p => p.Second.IsDistinguishable).Select(p => p.First)];

    /// <summary>
    /// Learns preferences. The model needs a single label, whose logit is the reward of prompt and response. A prompt and response that
    /// are too long lose the beginning of the prompt first, then the end of the response; pairs that are not <see cref="Distinguishable"/> are
    /// left out of training (in an evaluation they count as wrong).
    /// </summary>
    /// <param name="pairs">Prompts with a chosen and a rejected response.</param>
    /// <param name="heldOut">Pairs for evaluation; null or empty evaluates nothing.</param>
    /// <param name="progress">Called after each optimizer step, once its evaluation is done.</param>
    /// <param name="cancellation">Stops between steps and within an evaluation; the model then holds the weights of the last step.</param>
    /// <returns>The state after the last step.</returns>
    /// <exception cref="ArgumentException">There is no pair, none is <see cref="Distinguishable"/>, or the model has more than one
    /// label.</exception>
    /// <exception cref="ConfigurationException">A setting applies to labelled texts only.</exception>
    /// <exception cref="TrainingDivergedException">Loss or gradient was not finite in more than
    /// <see cref="RewardConfig.MaxBadSteps"/> steps in a row; the model keeps the weights from before them.</exception>
    public RewardProgress Train(
        IReadOnlyList<PreferencePair> pairs, IReadOnlyList<PreferencePair>? heldOut = null,
        Action<RewardProgress>? progress = null, CancellationToken cancellation = default)
    {
        if (config.RandomCropProbability > 0)
            throw new ConfigurationException(
                ["RandomCropProbability applies to labelled texts; a cut response is not the one that was preferred."]);
        var telling = Encode(pairs).Where(e => e.IsDistinguishable).ToArray();
        if (telling.Length == 0 && pairs.Count > 0)
            throw new ArgumentException($"There is nothing to learn: in each of the {pairs.Count} pairs, both texts are the same in the "
                + $"{examples.MaxLength} tokens that are read of them. Raise MaxLength, or shorten what they have in common.");
        return Run(telling, Encode(heldOut ?? []), Preference, progress, cancellation);
    }

    /// <summary>Loss and accuracy on labelled texts.</summary>
    public RewardEvaluation Evaluate(IReadOnlyList<Review> reviews) => Evaluate(Encode(reviews), Classification, default)!;

    /// <summary>Loss and accuracy on pairs.</summary>
    public RewardEvaluation Evaluate(IReadOnlyList<PreferencePair> pairs) => Evaluate(Encode(pairs), Preference, default)!;

    /// <summary>The last step's progress.</summary>
    public JsonNode CaptureState() => JsonSerializer.SerializeToNode(last, CheckpointJson.Options) ?? new JsonObject();

    /// <inheritdoc/>
    public void RestoreState(JsonElement state)
    {
        last = ReadState(state);
        badSteps.InARow = last?.BadStepsInARow ?? 0;
    }

    internal static RewardProgress? ReadState(JsonElement state) => CheckpointJson.ReadState<RewardProgress>(state, s => s.Step >= 0
        && s.BadStepsInARow >= 0 && s.Tokens >= 0 && CheckpointJson.IsSound(s.Elapsed)
        && CheckpointJson.IsSound(s.TrainingTime));

    /// <inheritdoc/>
    public void Dispose() => optimizer.Dispose();

    /// <summary>The training loop of both objectives.</summary>
    private RewardProgress Run(
        IReadOnlyList<RewardExample> train, IReadOnlyList<RewardExample> heldOut, Objective objective,
        Action<RewardProgress>? progress, CancellationToken cancellation)
    {
        if (train.Count == 0)
            throw new ArgumentException("There is nothing to train on: the data is empty.");
        int stepsPerEpoch = config.StepsPerEpoch(train.Count);
        long totalSteps = config.TotalSteps(train.Count);
        long warmupSteps = Schedules.WarmupSteps(config.WarmupRatio, totalSteps);
        var dropout = new RandomStream(config.Seed, "reward/dropout");
        optimizer.ZeroGradients();
        var clock = Stopwatch.StartNew();
        RewardExample[][][]? epoch = null;
        var state = last ?? new RewardProgress(0, totalSteps, 0, double.NaN, double.NaN, 0, 0, 0, TimeSpan.Zero, null);
        var before = state.Elapsed;
        var trainingTime = state.TrainingTime;

        if (state.EvaluationIsDue)
            EndStep();
        for (long step = state.Step + 1; step <= totalSteps && !cancellation.IsCancellationRequested; step++)
        {
            var started = clock.Elapsed;

            // 1. The step's minibatches; a new order (and new crops) at the start of each epoch.
            int stepOfEpoch = (int)((step - 1) % stepsPerEpoch);
            if (stepOfEpoch == 0 || epoch is null)
                epoch = [.. Minibatches(train, (step - 1) / stepsPerEpoch).Chunk(config.GradientAccumulationSteps)];
            var minibatches = epoch[stepOfEpoch];
            int count = minibatches.Sum(m => m.Length);
            lastExamples = minibatches[0];

            // 2. Loss and gradient: the mean over all texts or pairs of the step.
            DropoutSeed.Set(dropout, step);
            double loss = 0, correct = 0;
            long tokens = state.Tokens;
            foreach (var minibatch in minibatches)
            {
                var part = ForwardBackward(minibatch, count, objective);
                (loss, correct, tokens) = (loss + part.Loss / count, correct + part.Correct, tokens + part.Tokens);
            }

            // 3. The update, from finite numbers only.
            loss = TrainingFaults.Loss(Faults, step, loss);
            TrainingFaults.AfterBackward(Faults, step, optimizer);
            double gradNorm = optimizer.ClipGradients(config.MaxGradNorm);
            bool isGood = badSteps.Accept(step, totalSteps, loss, gradNorm, config.LearningRate, config.MaxGradNorm);
            double learningRate = config.LearningRate
                * Schedules.Factor(config.LearningRateSchedule, step - 1, warmupSteps, totalSteps);
            if (isGood)
                optimizer.Step(learningRate);
            optimizer.ZeroGradients();
            Allocator.ReleaseUnused();
            trainingTime += clock.Elapsed - started;

            // 4. Held-out data and the report.
            last = state = new RewardProgress(step, totalSteps, (double)step / stepsPerEpoch, loss, correct / count, learningRate,
                gradNorm, tokens, before + clock.Elapsed, null)
            {
                BadStepsInARow = badSteps.InARow,
                TrainingTime = trainingTime,
                EvaluationIsDue = heldOut.Count > 0 && (step == totalSteps || config.EvalSteps > 0 && step % config.EvalSteps == 0),
            };
            EndStep();
        }
        return state;

        void EndStep()
        {
            if (state.EvaluationIsDue && heldOut.Count > 0)
            {
                TrainingFaults.BeforeEvaluation(Faults, state.Step, cancellation);
                if (Evaluate(heldOut, objective, cancellation) is not { } evaluation)
                    return;
                last = state = state with { Evaluation = evaluation, EvaluationIsDue = false, Elapsed = before + clock.Elapsed };
            }
            progress?.Invoke(state);
        }
    }

    /// <summary>One minibatch: adds the gradient of its share of the step's mean loss.</summary>
    private (double Loss, double Correct, int Tokens) ForwardBackward(
        IReadOnlyList<RewardExample> minibatch, int countOfStep, Objective objective)
    {
        using var scope = NewDisposeScope();
        using var batch = examples.Pack(minibatch, model.Device);
        using var mode = model.InMode(training: true);
        var logits = model.Forward(batch);
        var (loss, correct) = objective(logits, minibatch);
        BackwardPass.Run(() => (loss / countOfStep).backward());
        return (loss.cpu().item<float>(), correct.cpu().item<long>(), batch.TokenCount);
    }

    /// <summary>Mean loss and accuracy without gradient; null when it was cancelled.</summary>
    private RewardEvaluation? Evaluate(IReadOnlyList<RewardExample> heldOut, Objective objective, CancellationToken cancellation)
    {
        if (heldOut.Count == 0)
            throw new ArgumentException("There is nothing to evaluate on: the data is empty.");
        using var noGrad = no_grad();
        double loss = 0, correct = 0;
        foreach (var minibatch in heldOut.OrderBy(e => e.Length).Chunk(config.BatchSize))
        {
            if (cancellation.IsCancellationRequested)
                return null;
            using var scope = NewDisposeScope();
            using var batch = examples.Pack(minibatch, model.Device);
            var part = objective(model.Forward(batch), minibatch);
            loss += part.Loss.cpu().item<float>();
            correct += part.Correct.cpu().item<long>();
        }
        return new(heldOut.Count, loss / heldOut.Count, correct / heldOut.Count);
    }

    /// <summary>Labelled texts: cross entropy; right is the label with the largest logit.</summary>
    private (Tensor Loss, Tensor Correct) Classification(Tensor logits, IReadOnlyList<RewardExample> minibatch)
    {
        var labels = tensor(minibatch.Select(e => (long)e.Target).ToArray(), device: logits.device);
        return (RewardLosses.CrossEntropy(logits, labels), logits.argmax(1).eq(labels).sum());
    }

    /// <summary>
    /// Pairs: Bradley and Terry; rows are all chosen texts, then all rejected ones. Right is a higher reward of the chosen text.
    /// </summary>
    private (Tensor Loss, Tensor Correct) Preference(Tensor logits, IReadOnlyList<RewardExample> minibatch)
    {
        var rewards = logits.squeeze(1);
        Tensor chosen = rewards.narrow(0, 0, minibatch.Count), rejected = rewards.narrow(0, minibatch.Count, minibatch.Count);
        var margins = tensor(minibatch.Select(e => (float)e.Target).ToArray(), device: logits.device);
        return (RewardLosses.BradleyTerry(chosen, rejected, margins, config.CenterRewardsCoefficient), chosen.gt(rejected).sum());
    }

    /// <summary>Minibatches of an epoch, a function of the seed and the epoch's number.</summary>
    private IEnumerable<RewardExample[]> Minibatches(IReadOnlyList<RewardExample> train, long epoch)
    {
        var crops = new RandomStream(config.Seed, "reward/crop").Fork(epoch);
        var seen = config.RandomCropProbability > 0
            ? train.Select((example, i) => example.Crop(config.RandomCropProbability, crops.Fork(i))).ToArray() : train;
        return LengthBuckets.Minibatches([.. seen.Select(e => e.Length)], config.BatchSize,
            new RandomStream(config.Seed, "reward/order").Fork(epoch)).Select(indices => indices.Select(i => seen[i]).ToArray());
    }

    private RewardExample[] Encode(IReadOnlyList<Review> reviews)
    {
        if (model.Labels.Count < 2)
            throw new ArgumentException("The model has a single label; classification needs one logit per label, at least two.");
        for (int i = 0; i < reviews.Count; i++)
            if (reviews[i].Label is var label && (label is null || (uint)label >= model.Labels.Count))
                throw new ArgumentException($"Review {i} has {(label is null ? "no label" : $"label {label}")}; this model's " +
                    $"labels are 0 to {model.Labels.Count - 1}. Leave the review out, or start from a model with more labels.");
        return examples.Encode(reviews);
    }

    private RewardExample[] Encode(IReadOnlyList<PreferencePair> pairs) => model.Labels.Count == 1 ? examples.Encode(pairs)
        : throw new ArgumentException($"The model has {model.Labels.Count} labels; pairs need a reward model with a single one.");
}
