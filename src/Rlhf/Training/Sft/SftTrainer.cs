using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Data.Batching;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Runtime.Operators;
using Rlhf.Training.Checkpoints;
using Rlhf.Training.Optimization;
using TorchSharp;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Training.Sft;

/// <summary>The state of supervised fine-tuning after an optimizer step.</summary>
/// <param name="Step">Optimizer steps so far; 1 is the first.</param>
/// <param name="TotalSteps">Optimizer steps of the run.</param>
/// <param name="Loss">Mean negative logprob of the step's tokens, in nats.</param>
/// <param name="LearningRate">Learning rate of the step.</param>
/// <param name="GradNorm">Norm of the gradient before clipping.</param>
/// <param name="Tokens">Tokens read so far.</param>
/// <param name="Elapsed">Time since the run began, evaluations included.</param>
/// <param name="EvalLoss">Held-out loss in nats per token, after the steps that evaluate.</param>
public sealed record SftProgress(
    long Step, long TotalSteps, double Loss, double LearningRate, double GradNorm, long Tokens, TimeSpan Elapsed,
    double? EvalLoss)
{
    /// <summary>Steps in a row, up to this one, whose update was left out because loss or gradient was not finite.</summary>
    public int BadStepsInARow { get; init; }

    /// <summary>Time spent on steps since the run began, evaluations and whatever else is between steps left out.</summary>
    public TimeSpan TrainingTime { get; init; }

    /// <summary>Mean rate of <see cref="Tokens"/> over <see cref="TrainingTime"/>; 0 before the first step.</summary>
    public double TokensPerSecond => TrainingTime > TimeSpan.Zero ? Tokens / TrainingTime.TotalSeconds : 0;

    /// <summary>What to say of the step if its update was left out; null elsewhere.</summary>
    public string? Warning => BadStepsInARow > 0 ? BadSteps.Warning(Step, Loss, GradNorm) : null;

    /// <summary>exp of the held-out loss.</summary>
    public double? EvalPerplexity => EvalLoss is { } loss ? Math.Exp(loss) : null;
}

/// <summary>
/// Stage 1 of RLHF: a causal language model learns texts, or completions of prompts, by next-token cross entropy.
/// </summary>
public sealed class SftTrainer : IResumable, IDisposable
{
    private readonly CausalLM model;
    private readonly SftConfig config;
    private readonly Adam optimizer;
    private readonly BadSteps badSteps;
    private SftProgress? last;
    private SftExample[] lastExamples = [];

    /// <summary>Prepares a run.</summary>
    /// <param name="model">The model to train, in place.</param>
    /// <param name="config">The settings.</param>
    /// <exception cref="ConfigurationException">A setting cannot be used.</exception>
    public SftTrainer(CausalLM model, SftConfig config)
    {
        config.ThrowIfInvalid();
        (this.model, this.config) = (model, config);
        optimizer = new Adam(model.Parameters, config.WeightDecay);
        badSteps = new BadSteps(config.MaxBadSteps);
    }

    /// <inheritdoc/>
    public long StepCount => last?.Step ?? 0;

    /// <inheritdoc/>
    public Adam Optimizer => optimizer;

    /// <inheritdoc/>
    IEnumerable<KeyValuePair<string, Parameter>> IResumable.ResumableParameters => model.Parameters;

    /// <inheritdoc/>
    public bool IsUsable() => model.Parameters.AreFinite()
        && (lastExamples.Length == 0 || double.IsFinite(Evaluate([.. lastExamples.Take(ModelCheck.Rows)])));

    /// <summary>Faults that tests put into the run.</summary>
    internal FaultPlan Faults { get; set; } = FaultPlan.Environment;

    /// <summary>
    /// Trains until all steps are done, those before a restored checkpoint included, calling back after every optimizer step; stops
    /// between steps when cancelled.
    /// </summary>
    /// <param name="train">Sequences to learn.</param>
    /// <param name="heldOut">Sequences that are only evaluated; may be empty.</param>
    /// <param name="progress">Called after every optimizer step.</param>
    /// <param name="cancellation">Stops the run after the step it is in.</param>
    /// <returns>The state after the last step.</returns>
    /// <exception cref="ArgumentException">There is nothing to learn, or a sequence is longer than the model reads.</exception>
    /// <exception cref="TrainingDivergedException">The loss or the gradient was not finite in more than
    /// <see cref="SftConfig.MaxBadSteps"/> steps in a row; the model keeps the weights from before them.</exception>
    public SftProgress Train(
        IReadOnlyList<SftExample> train, IReadOnlyList<SftExample> heldOut, Action<SftProgress>? progress = null,
        CancellationToken cancellation = default)
    {
        Check(train);
        var order = new ShuffledBatches(train.Count, config.SequencesPerStep(train.Count), config.Seed);
        long totalSteps = config.TotalSteps(train.Count);
        long warmupSteps = Schedules.WarmupSteps(config.WarmupRatio, totalSteps);
        var dropout = new RandomStream(config.Seed, "sft/dropout");
        optimizer.ZeroGradients();

        var clock = Stopwatch.StartNew();
        var state = last ?? new SftProgress(0, totalSteps, double.NaN, 0, 0, 0, TimeSpan.Zero, null);
        var before = state.Elapsed;
        var trainingTime = state.TrainingTime;
        long tokens = state.Tokens;
        for (long step = state.Step + 1; step <= totalSteps && !cancellation.IsCancellationRequested; step++)
        {
            var started = clock.Elapsed;
            // Data and dropout are functions of the seed and the step, so that a run can be continued.
            DropoutSeed.Set(dropout, step);
            var examples = lastExamples = order.BatchAt(step - 1).Select(i => train[i]).ToArray();
            int lossTokens = examples.Sum(e => e.LossTokens);
            double loss = 0;
            foreach (var minibatch in examples.Chunk(config.BatchSize))
            {
                loss += ForwardBackward(minibatch, lossTokens);
                tokens += minibatch.Sum(e => e.Ids.Length);
            }
            loss = TrainingFaults.Loss(Faults, step, loss);
            TrainingFaults.AfterBackward(Faults, step, optimizer);
            double gradNorm = optimizer.ClipGradients(config.MaxGradNorm);
            bool isGood = badSteps.Accept(step, totalSteps, loss, gradNorm, config.LearningRate, config.MaxGradNorm);
            double learningRate =
                config.LearningRate * Schedules.Factor(config.LearningRateSchedule, step - 1, warmupSteps, totalSteps);
            if (isGood)
                optimizer.Step(learningRate);
            optimizer.ZeroGradients();
            Allocator.ReleaseUnused();
            trainingTime += clock.Elapsed - started;

            bool evaluate = heldOut.Count > 0 && (step == totalSteps || config.EvalSteps > 0 && step % config.EvalSteps == 0);
            double? evalLoss = evaluate ? Evaluate(heldOut) : null;
            last = state = new SftProgress(
                step, totalSteps, loss, learningRate, gradNorm, tokens, before + clock.Elapsed, evalLoss)
            {
                BadStepsInARow = badSteps.InARow,
                TrainingTime = trainingTime,
            };
            progress?.Invoke(state);
        }
        return state;
    }

    /// <summary>Mean negative logprob per token of held-out sequences, in nats.</summary>
    public double Evaluate(IReadOnlyList<SftExample> heldOut)
    {
        Check(heldOut);
        using var noGrad = no_grad();
        double sum = 0;
        foreach (var minibatch in heldOut.Chunk(config.BatchSize))
        {
            using var scope = NewDisposeScope();
            using var rows = ScoredRows.Of([.. minibatch.Select(e => e.ToRow())], model.Device);
            var hidden = rows.Hidden(model.Forward(rows.Batch));
            sum -= model.Head.Logprobs(hidden, rows.Targets).sum().cpu().ToDouble();
        }
        return sum / heldOut.Sum(e => (long)e.LossTokens);
    }

    /// <summary>The last step's progress.</summary>
    public JsonNode CaptureState() => JsonSerializer.SerializeToNode(last, CheckpointJson.Options) ?? new JsonObject();

    /// <inheritdoc/>
    public void RestoreState(JsonElement state)
    {
        last = ReadState(state);
        badSteps.InARow = last?.BadStepsInARow ?? 0;
    }

    internal static SftProgress? ReadState(JsonElement state) => CheckpointJson.ReadState<SftProgress>(
        state, s => s.Step >= 0 && s.BadStepsInARow >= 0 && s.Tokens >= 0 && CheckpointJson.IsSound(s.Elapsed)
            && CheckpointJson.IsSound(s.TrainingTime));

    /// <inheritdoc/>
    public void Dispose() => optimizer.Dispose();

    /// <summary>Adds the gradient of the minibatch's share of the mean loss, and returns that share.</summary>
    private double ForwardBackward(SftExample[] minibatch, int lossTokens)
    {
        using var scope = NewDisposeScope();
        using var rows = ScoredRows.Of([.. minibatch.Select(e => e.ToRow())], model.Device);
        using var mode = model.InMode(training: true);
        var hidden = rows.Hidden(model.Forward(rows.Batch));
        var pass = model.Head.ForwardBackward(hidden, rows.Targets, (long _, Tensor logprobs) => full_like(logprobs, -1.0 / lossTokens));
        BackwardPass.Run(() => hidden.backward([pass.HiddenGradient]));
        return -pass.Logprobs.sum().cpu().ToDouble() / lossTokens;
    }

    private void Check(IReadOnlyList<SftExample> examples)
    {
        if (examples.Sum(e => (long)e.LossTokens) == 0)
            throw new ArgumentException("There is no token to learn: the data set is empty, or its texts have a single token.");
        if (examples.FirstOrDefault(e => e.Ids.Length > model.MaxPositions || e.LossTokens == 0) is { } bad)
            throw new ArgumentException(bad.LossTokens == 0
                ? "A sequence has no token that the loss counts; leave such sequences out."
                : $"A sequence has {bad.Ids.Length} tokens, but the model reads at most {model.MaxPositions}; lower MaxLength.");
    }
}
