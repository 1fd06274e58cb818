using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Data.Batching;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Training.Checkpoints;
using Rlhf.Training.Optimization;
using static TorchSharp.torch;

namespace Rlhf.Training.Loop;

/// <summary>
/// The one training loop over examples in epochs: supervised fine-tuning, reward models, and every algorithm that is an
/// <see cref="IObjective{TExample}"/>. AdamW, a schedule, accumulated gradients, steps left out whose numbers are not finite, evaluation on
/// held-out data, exact resume.
/// </summary>
/// <remarks>
/// Order, crops and dropout are functions of the seed, the epoch and the step. So on the CPU the same settings and data give the same
/// weights, and a checkpoint needs no random state.
/// </remarks>
/// <typeparam name="TExample">What the objective learns from.</typeparam>
public class EpochTrainer<TExample> : IResumable, IDisposable
{
    private readonly IObjective<TExample> objective;
    private readonly TrainerConfig config;
    private readonly IOptimizer optimizer;
    private readonly BadSteps badSteps;
    private readonly RandomStream dropout;
    private TrainProgress? last;
    private TExample[] lastExamples = [];
    private Stopwatch? clock;
    private TimeSpan timeBefore;

    /// <summary>Prepares a training run.</summary>
    /// <param name="objective">What is minimized; it stays the caller's, with its model.</param>
    /// <param name="config">The settings.</param>
    /// <exception cref="ConfigurationException">A setting cannot be used.</exception>
    /// <exception cref="ArgumentException">No parameter requires a gradient.</exception>
    public EpochTrainer(IObjective<TExample> objective, TrainerConfig config)
    {
        config.ThrowIfInvalid();
        (this.objective, this.config) = (objective, config);
        optimizer = new Adam(objective.Trained, config.WeightDecay);
        optimizer.ZeroGradients();
        badSteps = new BadSteps(config.MaxBadSteps);
        dropout = new RandomStream(config.Seed, objective.Name + "/dropout");
    }

    /// <summary>Where tests look on.</summary>
    internal TrainingHooks Hooks { get; set; } = TrainingHooks.Default;

    /// <summary>
    /// Trains until all steps are done, those before a restored checkpoint included. Can be stopped between two steps and within an
    /// evaluation.
    /// </summary>
    /// <param name="train">Examples to learn.</param>
    /// <param name="heldOut">Examples that are only evaluated; null or empty evaluates nothing.</param>
    /// <param name="progress">Called after every step, once its evaluation is done.</param>
    /// <param name="cancellation">Stops the run; the model then holds the weights of the last step.</param>
    /// <returns>The state after the last step.</returns>
    /// <exception cref="ArgumentException">There is no example, or one cannot be learned.</exception>
    /// <exception cref="TrainingDivergedException">Loss or gradient was not finite in more than <see cref="TrainerConfig.MaxBadSteps"/> steps
    /// in a row; the model keeps the weights from before them.</exception>
    public TrainProgress Train(
        IReadOnlyList<TExample> train, IReadOnlyList<TExample>? heldOut = null, Action<TrainProgress>? progress = null,
        CancellationToken cancellation = default)
    {
        heldOut ??= [];
        Check(train, "train");
        if (heldOut.Count > 0)
            objective.Check(heldOut);
        int stepsPerEpoch = config.StepsPerEpoch(train.Count);
        long totalSteps = config.TotalSteps(train.Count);
        TExample[][][]? epoch = null;
        (clock, timeBefore) = (Stopwatch.StartNew(), last?.Elapsed ?? TimeSpan.Zero);

        if (last is { EvaluationIsDue: true } unfinished)
            EndStep(unfinished);
        for (long step = StepCount + 1; step <= totalSteps && !cancellation.IsCancellationRequested; step++)
        {
            // 1. The step's minibatches; a new order at the start of each epoch.
            int stepOfEpoch = (int)((step - 1) % stepsPerEpoch);
            if (stepOfEpoch == 0 || epoch is null)
                epoch = [.. Minibatches(train, (step - 1) / stepsPerEpoch).Chunk(config.GradientAccumulationSteps)];

            // 2. Loss, gradient and update.
            var state = Step(epoch[stepOfEpoch], totalSteps);

            // 3. Held-out data and the report.
            EndStep(last = state with
            {
                Epoch = (double)step / stepsPerEpoch,
                EvaluationIsDue = heldOut.Count > 0 && (step == totalSteps || config.EvalSteps > 0 && step % config.EvalSteps == 0),
            });
        }
        return last ?? NoStep(totalSteps);

        void EndStep(TrainProgress state)
        {
            if (state.EvaluationIsDue && heldOut.Count > 0)
            {
                try
                {
                    Hooks.BeforeEvaluation(state.Step, cancellation);
                    var evaluation = EvaluateUnchecked(heldOut, cancellation);
                    last = state = state with { Evaluation = evaluation, EvaluationIsDue = false, Elapsed = Elapsed };
                }
                catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
                {
                    return; // the resumed run makes it up
                }
            }
            progress?.Invoke(state);
        }
    }

    /// <summary>One optimizer step on examples of one's own choice, in minibatches of <see cref="TrainerConfig.BatchSize"/>.</summary>
    /// <param name="examples">The examples of the step.</param>
    /// <param name="totalSteps">Steps of the run, for the learning rate's schedule.</param>
    /// <exception cref="ArgumentException">There is no example, or one cannot be learned.</exception>
    /// <exception cref="TrainingDivergedException">As for <see cref="Train"/>.</exception>
    public TrainProgress Step(IReadOnlyList<TExample> examples, long totalSteps)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(totalSteps, StepCount + 1);
        Check(examples, "train");
        if (clock is null)
            (clock, timeBefore) = (Stopwatch.StartNew(), last?.Elapsed ?? TimeSpan.Zero);
        return last = Step([.. examples.Chunk(config.BatchSize)], totalSteps);
    }

    /// <summary>Mean loss and further means over held-out examples, without gradient and without dropout.</summary>
    /// <exception cref="ArgumentException">There is no example, or one is not fit for the model.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public TrainEvaluation Evaluate(IReadOnlyList<TExample> heldOut, CancellationToken cancellation = default)
    {
        Check(heldOut, "evaluate");
        return EvaluateUnchecked(heldOut, cancellation);
    }

    private TimeSpan Elapsed => timeBefore + clock!.Elapsed;

    private TrainProgress Step(TExample[][] minibatches, long totalSteps)
    {
        var started = clock!.Elapsed;
        var before = last ?? NoStep(totalSteps);
        long step = before.Step + 1, tokens = before.Tokens;
        lastExamples = minibatches[0];

        try
        {
            // 1. Loss and gradient: the mean over what the objective counts in all minibatches of the step.
            DropoutSeed.Set(dropout, step);
            double weight = minibatches.Sum(m => m.Sum(objective.Weight)), loss = 0;
            Dictionary<string, double> sums = [], counts = [];
            foreach (var minibatch in minibatches)
            {
                var part = objective.ForwardBackward(minibatch, 1 / weight);
                (loss, tokens) = (loss + part.Loss / weight, tokens + part.Tokens);
                Add(sums, part.Sums);
                Add(counts, part.Counts);
            }
            loss = Hooks.Loss(step, loss);
            Hooks.AfterBackward(step, isFirst: true, optimizer);

            // 2. The update, from finite numbers only.
            double gradNorm = optimizer.ClipGradients(config.MaxGradNorm);
            bool isGood = badSteps.Accept(step, totalSteps, loss, gradNorm, config.LearningRate, config.MaxGradNorm);
            double learningRate = config.LearningRate * Schedules.Factor(
                config.LearningRateSchedule, step - 1, Schedules.WarmupSteps(config.WarmupRatio, totalSteps), totalSteps);
            if (isGood)
                optimizer.Step(learningRate);
            return new TrainProgress
            {
                Step = step,
                TotalSteps = totalSteps,
                Loss = loss,
                Metrics = Means(sums, counts, weight),
                LearningRate = learningRate,
                GradNorm = gradNorm,
                Tokens = tokens,
                Elapsed = Elapsed,
                TrainingTime = before.TrainingTime + (clock.Elapsed - started),
                BadStepsInARow = badSteps.InARow,
            };
        }
        finally
        {
            optimizer.ZeroGradients(); // also after a failure, so that nothing of this step reaches the next one
            Allocator.ReleaseUnused();
        }
    }

    private TrainEvaluation EvaluateUnchecked(IReadOnlyList<TExample> heldOut, CancellationToken cancellation)
    {
        double loss = 0, weight = 0;
        Dictionary<string, double> sums = [], counts = [];
        foreach (var minibatch in heldOut.OrderBy(objective.Length).Chunk(config.BatchSize))
        {
            cancellation.ThrowIfCancellationRequested();
            var part = objective.Evaluate(minibatch);
            (loss, weight) = (loss + part.Loss, weight + minibatch.Sum(objective.Weight));
            Add(sums, part.Sums);
            Add(counts, part.Counts);
        }
        return new(heldOut.Count, loss / weight) { Metrics = Means(sums, counts, weight) };
    }

    /// <summary>Minibatches of an epoch, a function of the seed and the epoch's number.</summary>
    private IEnumerable<TExample[]> Minibatches(IReadOnlyList<TExample> train, long epoch)
    {
        var draws = new RandomStream(config.Seed, objective.Name + "/crop").Fork(epoch);
        TExample[] seen = [.. train.Select((example, i) => objective.Draw(example, draws.Fork(i)))];
        var order = objective.GroupsByLength
            ? LengthBuckets.Minibatches([.. seen.Select(objective.Length)], config.BatchSize,
                new RandomStream(config.Seed, objective.Name + "/order").Fork(epoch))
            : new ShuffledBatches(train.Count, config.BatchSize, config.Seed, dropLast: false).EpochOrder(epoch).Chunk(config.BatchSize);
        return order.Select(minibatch => Array.ConvertAll(minibatch, i => seen[i]));
    }

    private void Check(IReadOnlyList<TExample> examples, string verb)
    {
        if (examples.Count == 0)
            throw new ArgumentException($"There is nothing to {verb} on: the data is empty.", nameof(examples));
        objective.Check(examples);
    }

    private static void Add(Dictionary<string, double> sums, IReadOnlyDictionary<string, double> more)
    {
        foreach (var (name, sum) in more)
            sums[name] = sums.GetValueOrDefault(name) + sum;
    }

    /// <summary>Means of what has a count; the count of all examples where it has none of its own.</summary>
    private Dictionary<string, double> Means(Dictionary<string, double> sums, Dictionary<string, double> counts, double weight)
    {
        var means = sums.Where(s => counts.GetValueOrDefault(s.Key, weight) > 0).ToDictionary(s => s.Key, s => s.Value / counts.GetValueOrDefault(s.Key, weight));
        return new(means.Concat(objective.Derived(means)));
    }

    private static TrainProgress NoStep(long totalSteps) => new()
    {
        Step = 0,
        TotalSteps = totalSteps,
        Loss = double.NaN,
        LearningRate = 0,
        GradNorm = 0,
        Tokens = 0,
        Elapsed = TimeSpan.Zero,
    };

    /// <inheritdoc/>
    public long StepCount => last?.Step ?? 0;

    /// <inheritdoc/>
    public long ReportedSteps => StepCount - (last is { EvaluationIsDue: true } ? 1 : 0);

    /// <inheritdoc/>
    public IReadOnlyList<StateFile> Files =>
    [
        new(objective.ModelFile, objective.Trained.Select(p => KeyValuePair.Create(p.Key, (Tensor)p.Value))),
        new(StateFile.Optimizer, optimizer.State),
    ];

    /// <summary>Are all parameters finite, and the loss of a few of the last step's examples?</summary>
    public bool IsUsable() => objective.Trained.AreFinite()
        && (lastExamples.Length == 0 || double.IsFinite(objective.Evaluate([.. lastExamples.Take(ModelCheck.Rows)]).Loss));

    /// <summary>The last step's progress.</summary>
    public JsonNode CaptureState() => JsonSerializer.SerializeToNode(last, CheckpointJson.Options) ?? new JsonObject();

    /// <inheritdoc/>
    public void RestoreState(JsonElement state)
    {
        last = TrainProgress.Read(state);
        badSteps.InARow = last?.BadStepsInARow ?? 0;
        clock = null;
    }

    /// <summary>Frees the optimizer's tensors; model and objective stay the caller's.</summary>
    public void Dispose()
    {
        optimizer.Dispose();
        GC.SuppressFinalize(this);
    }
}
