using System.Diagnostics;
using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Generation;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using Rlhf.Tracking;

namespace Rlhf.Training.Loop;

/// <summary>
/// The one loop of algorithms that learn from their policy's own answers: sample responses to a batch of queries, score them, take a step,
/// report; again.
/// </summary>
/// <remarks>
/// Every random choice is a pure function of the seed and the step, so that a run can be repeated and resumed.
/// </remarks>
public sealed class RolloutRun
{
    private readonly IPolicyTrainer trainer;
    private readonly TextGenerator generator;
    private readonly ITokenizer tokenizer;
    private readonly IRewardFunction reward;
    private readonly IReadOnlyList<Query> queries;
    private readonly RolloutPlan plan;
    private readonly GenerationConfig sampling;
    private readonly ShuffledBatches batches;
    private readonly RandomStream lengthStream, samplingStream;

    /// <summary>Prepares a run; what it is given stays the caller's.</summary>
    /// <param name="trainer">The trainer, with its policy.</param>
    /// <param name="generator">Samples from the trainer's policy; with its value head, if the trainer has use for values.</param>
    /// <param name="tokenizer">The policy's tokenizer.</param>
    /// <param name="reward">Scores query and response.</param>
    /// <param name="queries">The queries to draw batches from; at least one batch.</param>
    /// <param name="plan">How responses are sampled; null is the lesson's: pure sampling, 4 to 15 tokens.</param>
    /// <exception cref="ArgumentException">There are fewer queries than a batch, a batch has no whole groups, or a query and its
    /// response do not fit the model.</exception>
    /// <exception cref="ConfigurationException">A setting of the plan cannot be used.</exception>
    public RolloutRun(IPolicyTrainer trainer, TextGenerator generator, ITokenizer tokenizer, IRewardFunction reward,
        IReadOnlyList<Query> queries, RolloutPlan? plan = null)
    {
        this.plan = plan ?? new RolloutPlan(Lengths: RolloutPlan.LessonLengths);
        ConfigurationException.ThrowIfAny([.. this.plan.Validate()]);
        (this.trainer, this.generator, this.tokenizer, this.reward, this.queries) = (trainer, generator, tokenizer, reward, queries);
        sampling = this.plan.Sampling ?? new GenerationConfig();
        int answers = this.plan.AnswersPerQuery, queriesPerStep = trainer.BatchSize / answers;
        if (trainer.BatchSize % answers != 0)
            throw new ArgumentException($"A batch of {trainer.BatchSize} rows is not a multiple of {answers} answers per query; change BatchSize "
                + "or AnswersPerQuery.", nameof(plan));
        if (queries.Count < queriesPerStep)
            throw new ArgumentException($"There are {queries.Count} queries, fewer than one batch of " +
                $"{queriesPerStep}; give more queries or lower BatchSize.", nameof(queries));
        int longest = queries.Max(q => q.TokenIds.Length) + (this.plan.Lengths?.MaxValue - 1 ?? sampling.MaxNewTokens);
        if (longest > trainer.Policy.MaxPositions)
            throw new ArgumentException($"A query and its response can have {longest} tokens, but the model reads at most " +
                $"{trainer.Policy.MaxPositions}; shorten one of them.",
                nameof(queries));
        batches = new ShuffledBatches(queries.Count, queriesPerStep, trainer.Seed);
        lengthStream = new RandomStream(trainer.Seed, trainer.Name + "/response-length");
        samplingStream = new RandomStream(trainer.Seed, trainer.Name + "/sampling");
    }

    /// <summary>Steps in one pass over the queries.</summary>
    public int StepsPerEpoch => batches.BatchesPerEpoch;

    /// <summary>Where tests look on.</summary>
    internal TrainingHooks Hooks { get; set; } = TrainingHooks.Default;

    /// <summary>
    /// Takes steps until <paramref name="totalSteps"/> are done, calling back after each. When cancelled it stops at once, and gives up a step
    /// that has not changed a weight: a resumed run takes it again.
    /// </summary>
    /// <returns>Steps done.</returns>
    /// <exception cref="TrainingDivergedException">The trainer's settings say to stop.</exception>
    /// <exception cref="RewardException">The reward function failed, or returned a score that is not finite and such samples are not
    /// left out.</exception>
    public long Train(long totalSteps, Action<RolloutProgress>? progress = null, CancellationToken cancellation = default)
    {
        var clock = Stopwatch.StartNew();
        for (long step = trainer.StepCount + 1; step <= totalSteps && !cancellation.IsCancellationRequested; step++)
        {
            RolloutProgress done;
            try
            {
                done = Step(step, totalSteps, clock, cancellation);
            }
            catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
            {
                break;
            }
            progress?.Invoke(done);
        }
        if (trainer.StepCount >= totalSteps)
            trainer.EndRun(totalSteps);
        return trainer.StepCount;
    }

    private RolloutProgress Step(long step, long totalSteps, Stopwatch clock, CancellationToken cancellation)
    {
        // 1. Queries: the step's batch, each as often as it is to be answered.
        var started = clock.Elapsed;
        Query[] batch = [.. batches.BatchAt(step - 1).SelectMany(i => Enumerable.Repeat(queries[i], plan.AnswersPerQuery))];
        int[][] queryIds = [.. batch.Select(q => q.TokenIds)];

        // 2. Responses of the policy as it is now.
        var lengths = plan.Lengths?.Sample(lengthStream.Fork(step), batch.Length);
        var generated = Generate(queryIds, lengths, step, cancellation);
        var generationTime = clock.Elapsed;

        // 3. Scores of query and response.
        Completion[] completions = [.. batch.Zip(generated.Responses,
            (q, r) => new Completion(q.Text, tokenizer.TextOfContinuation(r)) { Fields = q.Fields, Messages = q.Messages })];
        var scores = RewardChecks.Check(reward.Name, completions, Hooks.Scores(step, reward.Score(completions, cancellation)),
            trainer.RequiresFiniteScores);
        var rewardTime = clock.Elapsed;

        // 4. The update.
        var statistics = trainer.Step(generated.ToRollout(queryIds) with { GroupSize = plan.AnswersPerQuery }, scores, cancellation);
        if (statistics.LargestRatioRow is { } row)
            statistics = statistics with
            {
                Warnings = [.. statistics.Warnings, new("largest_ratio",
                    $"The largest ratio was that of sample {row}: {completions[row].Quoted()}.")],
            };

        // 5. The report.
        var metrics = new Dictionary<string, double>(statistics.Scalars())
        {
            ["time/generation"] = (generationTime - started).TotalSeconds,
            ["time/reward"] = (rewardTime - generationTime).TotalSeconds,
            ["time/step"] = (clock.Elapsed - started).TotalSeconds,
        };
        return new RolloutProgress
        {
            Step = step,
            TotalSteps = totalSteps,
            Statistics = statistics,
            Completions = completions,
            Scores = scores,
            Elapsed = clock.Elapsed,
            Metrics = new MetricRecord(step, DateTimeOffset.UtcNow, metrics, statistics.Distributions()),
            BadStepsInARow = trainer.BadStepsInARow,
        };
    }

    private GenerationResult Generate(int[][] queryIds, int[]? lengths, long step, CancellationToken cancellation)
    {
        try
        {
            return generator.Generate(queryIds, sampling, lengths, samplingStream.Fork(step), cancellation: cancellation);
        }
        catch (NonFiniteLogitsException error)
        {
            throw new TrainingDivergedException(step, error.Message.TrimEnd('.'), "Lower LearningRate, or set MaxGradNorm.",
                "An update was too large.", "LearningRate")
            {
                WeightsAreDamaged = true,
            };
        }
    }
}
