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
    /// <summary>Turns the run's seed into another one, for the order of queries that replace others.</summary>
    private const long ReplacementSeed = 0x5eed;

    private readonly IPolicyTrainer trainer;
    private readonly TextGenerator generator;
    private readonly ITokenizer tokenizer;
    private readonly IRewardFunction reward;
    private readonly IReadOnlyList<Query> queries;
    private readonly RolloutPlan plan;
    private readonly GenerationConfig sampling;
    private readonly ShuffledBatches batches, replacements;
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
        replacements = new ShuffledBatches(queries.Count, queriesPerStep, trainer.Seed ^ ReplacementSeed);
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
        // 1. Queries: the step's batch.
        var started = clock.Elapsed;
        var times = new StepTimes(clock);
        int[] chosen = batches.BatchAt(step - 1);

        // 2. Responses of the policy as it is now, and their scores.
        var answers = new Answers(chosen.Length, plan.AnswersPerQuery);
        Answer(answers, [.. answers.Groups], chosen, step, 0, times, cancellation);

        // 3. Groups from which nothing can be learned make room for answers to other queries.
        int resampled = 0;
        for (int round = 1; round <= plan.ResampleRounds && answers.WithoutSignal is { Length: > 0 } dull; round++)
        {
            resampled += dull.Length;
            Answer(answers, dull, [.. replacements.BatchAt((step - 1) * plan.ResampleRounds + round - 1).Take(dull.Length)], step, round, times, cancellation);
        }
        var completions = answers.Completions;
        var scores = answers.Scores;

        // 4. The update.
        var statistics = trainer.Step(answers.ToRollout(), scores, cancellation);
        if (statistics.LargestRatioRow is { } row)
            statistics = statistics with
            {
                Warnings = [.. statistics.Warnings, new("largest_ratio",
                    $"The largest ratio was that of sample {row}: {completions[row].Quoted()}.")],
            };

        // 5. The report.
        var metrics = new Dictionary<string, double>(statistics.Scalars())
        {
            ["time/generation"] = times.Generation.TotalSeconds,
            ["time/reward"] = times.Reward.TotalSeconds,
            ["time/step"] = (clock.Elapsed - started).TotalSeconds,
        };
        if (plan.ResampleRounds > 0)
            metrics["resampled_groups"] = resampled;
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

    /// <summary>Answers queries, each as often as the plan says, and has the answers scored.</summary>
    /// <param name="answers">Takes them.</param>
    /// <param name="groups">Where they belong.</param>
    /// <param name="chosen">Numbers of the queries, one for each of the groups.</param>
    /// <param name="step">The step.</param>
    /// <param name="round">0 for a step's own queries, then the number of the round that replaces some.</param>
    /// <param name="times">Takes the time.</param>
    /// <param name="cancellation">Stops.</param>
    private void Answer(Answers answers, int[] groups, int[] chosen, long step, int round, StepTimes times, CancellationToken cancellation)
    {
        times.Begin();
        Query[] batch = [.. chosen.SelectMany(i => Enumerable.Repeat(queries[i], plan.AnswersPerQuery))];
        var lengths = plan.Lengths?.Sample(round == 0 ? lengthStream.Fork(step) : lengthStream.Fork(step).Fork(round), batch.Length);
        var generated = Generate([.. batch.Select(q => q.TokenIds)], lengths, step, (long)round * trainer.BatchSize, cancellation);
        times.Generated();
        Completion[] completions = [.. batch.Zip(generated.Responses,
            (q, r) => new Completion(q.Text, tokenizer.TextOfContinuation(r)) { Fields = q.Fields, Messages = q.Messages })];
        var scored = reward.ScoreComponents(completions, cancellation);
        var scores = RewardChecks.Check(reward.Name, completions, Hooks.Scores(step, scored.Total), trainer.RequiresFiniteScores);
        times.Scored();
        answers.Put(groups, batch, generated, completions, scored with { Total = scores });
    }

    private GenerationResult Generate(int[][] queryIds, int[]? lengths, long step, long firstRow, CancellationToken cancellation)
    {
        try
        {
            // With an adapter merged into copies of the weights: as fast as without one. The weights come back exactly.
            using var merged = trainer.Policy.Adapter?.Merged();
            return generator.Generate(queryIds, sampling, lengths, samplingStream.Fork(step), firstRow, cancellation: cancellation);
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
