using System.Diagnostics;
using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Generation;
using Rlhf.Rewards;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using Rlhf.Tracking;
using Rlhf.Training.Loop;

namespace Rlhf.Training.Ppo;

/// <summary>One finished step of a <see cref="PpoRun"/>.</summary>
/// <param name="Step">Number of the step; 1 is the first.</param>
/// <param name="TotalSteps">Steps of the run.</param>
/// <param name="Statistics">What the trainer measured.</param>
/// <param name="Completions">The step's queries and responses.</param>
/// <param name="Scores">Score of each of them.</param>
/// <param name="Elapsed">Time since <see cref="PpoRun.Train"/> was called.</param>
/// <param name="Metrics">All numbers under TRL's names, time per phase included.</param>
public sealed record PpoProgress(
    long Step, long TotalSteps, PpoStatistics Statistics, IReadOnlyList<Completion> Completions, IReadOnlyList<float> Scores,
    TimeSpan Elapsed, MetricRecord Metrics)
{
    /// <summary>Steps in a row, up to this one, of which something was left out because its numbers were bad.</summary>
    public int BadStepsInARow { get; init; }

    /// <summary>The lesson's <c>game_log</c>: query, response and reward of the step's first rows.</summary>
    public SampleTable GameLog(int rows = 16) => new("game_log", Step, ["query", "response", "reward"],
        [.. Completions.Zip(Scores).Take(rows)
            .Select(row => (IReadOnlyList<object?>)[row.First.Query, row.First.Response, (double)row.Second])]);
}

/// <summary>The lesson's loop: sample responses to a batch of queries, score them, take a PPO step, report; again.</summary>
/// <remarks>
/// Every random choice is a pure function of the seed and the step, so that a run can be repeated and continued.
/// </remarks>
public sealed class PpoRun
{
    private readonly PpoTrainer trainer;
    private readonly ITokenizer tokenizer;
    private readonly IRewardFunction reward;
    private readonly IReadOnlyList<Query> queries;
    private readonly GenerationConfig generation;
    private readonly LengthSampler responseLengths;
    private readonly ShuffledBatches batches;
    private readonly TextGenerator generator;
    private readonly RandomStream lengthStream, samplingStream;

    /// <summary>Prepares a run; what it is given stays the caller's.</summary>
    /// <param name="trainer">The trainer, with policy and reference.</param>
    /// <param name="tokenizer">The policy's tokenizer.</param>
    /// <param name="reward">Scores query + response.</param>
    /// <param name="queries">The queries to draw batches from; at least one batch.</param>
    /// <param name="generation">How responses are sampled; null is the lesson's pure sampling.</param>
    /// <param name="responseLengths">Draws each response's length in tokens; null is the lesson's LengthSampler(4, 16).</param>
    /// <exception cref="ArgumentException">There are fewer queries than a batch, or a query and its
    /// response do not fit the model.</exception>
    /// <exception cref="ConfigurationException">A generation setting cannot be used.</exception>
    public PpoRun(PpoTrainer trainer, ITokenizer tokenizer, IRewardFunction reward, IReadOnlyList<Query> queries,
        GenerationConfig? generation = null, LengthSampler? responseLengths = null)
    {
        (this.trainer, this.tokenizer, this.reward, this.queries) = (trainer, tokenizer, reward, queries);
        this.generation = generation ?? new GenerationConfig();
        this.responseLengths = responseLengths ?? LessonResponseLengths;
        ConfigurationException.ThrowIfAny([.. this.generation.Validate()]);
        if (queries.Count < trainer.Config.BatchSize)
            throw new ArgumentException($"There are {queries.Count} queries, fewer than one batch of " +
                $"{trainer.Config.BatchSize}; give more queries or lower BatchSize.", nameof(queries));
        int longest = queries.Max(q => q.TokenIds.Length) + this.responseLengths.MaxValue - 1;
        int positions = trainer.Model.PretrainedModel.MaxPositions;
        if (longest > positions)
            throw new ArgumentException($"A query and its response can have {longest} tokens, but the model reads at most " +
                $"{positions}; shorten one of them.",
                nameof(queries));
        batches = new ShuffledBatches(queries.Count, trainer.Config.BatchSize, trainer.Config.Seed);
        generator = new TextGenerator(trainer.Model);
        lengthStream = new RandomStream(trainer.Config.Seed, "ppo/response-length");
        samplingStream = new RandomStream(trainer.Config.Seed, "ppo/sampling");
    }

    /// <summary>The lesson's response lengths: 4 to 15 tokens.</summary>
    public static LengthSampler LessonResponseLengths { get; } = new(4, 16);

    /// <summary>Steps in one pass over the queries.</summary>
    public int StepsPerEpoch => batches.BatchesPerEpoch;

    /// <summary>
    /// Takes steps until <paramref name="totalSteps"/> are done, calling back after each; stops between steps when cancelled.
    /// </summary>
    /// <returns>Steps done.</returns>
    /// <exception cref="TrainingDivergedException"><see cref="PpoConfig.Divergence"/> says to stop.</exception>
    /// <exception cref="RewardException">The reward function failed, or returned a score that is not finite and such samples are not
    /// left out.</exception>
    public long Train(long totalSteps, Action<PpoProgress>? progress = null, CancellationToken cancellation = default)
    {
        var clock = Stopwatch.StartNew();
        for (long step = trainer.StepCount + 1; step <= totalSteps && !cancellation.IsCancellationRequested; step++)
        {
            var started = clock.Elapsed;
            Query[] batch = [.. batches.BatchAt(step - 1).Select(i => queries[i])];
            int[][] queryIds = [.. batch.Select(q => q.TokenIds)];

            var lengths = responseLengths.Sample(lengthStream.Fork(step), batch.Length);
            var generated = Generate(queryIds, lengths, step);
            var generationTime = clock.Elapsed;

            Completion[] completions = [.. batch.Zip(generated.Responses,
                (q, r) => new Completion(q.Text, tokenizer.TextOfContinuation(r)))];
            var scores = Score(completions, step);
            var rewardTime = clock.Elapsed;

            // Logprobs of a warped distribution are not those of the policy that drew the tokens; the trainer then computes its own.
            var statistics = trainer.Step(new Rollout(queryIds, generated.Responses,
                generated.FromPolicy ? generated.Logprobs : null, generated.FromPolicy ? generated.Values : null), scores);
            if (statistics.LargestRatioRow is { } row)
                statistics = statistics with
                {
                    Warnings = [.. statistics.Warnings, new("largest_ratio", $"The largest ratio was that of sample {row}: {completions[row].Quoted()}.")],
                };

            var metrics = new Dictionary<string, double>(statistics.Scalars())
            {
                ["time/generation"] = (generationTime - started).TotalSeconds,
                ["time/reward"] = (rewardTime - generationTime).TotalSeconds,
                ["time/step"] = (clock.Elapsed - started).TotalSeconds,
            };
            progress?.Invoke(new PpoProgress(step, totalSteps, statistics, completions, scores, clock.Elapsed,
                new MetricRecord(step, DateTimeOffset.UtcNow, metrics, statistics.Distributions()))
            {
                BadStepsInARow = trainer.Guards.BadStepsInARow,
            });
        }
        if (trainer.StepCount >= totalSteps)
            trainer.Guards.EndRun(totalSteps);
        return trainer.StepCount;
    }

    private GenerationResult Generate(int[][] queryIds, int[] lengths, long step)
    {
        try
        {
            return generator.Generate(queryIds, generation, lengths, samplingStream.Fork(step));
        }
        catch (ArithmeticException error) when (error.GetType() == typeof(ArithmeticException))
        {
            throw new TrainingDivergedException(step, error.Message.TrimEnd('.'),
                $"LearningRate was {trainer.Config.LearningRate}; MaxGradNorm limits an update.", setting: nameof(PpoConfig.LearningRate))
            {
                WeightsAreDamaged = true,
            };
        }
    }

    private IReadOnlyList<float> Score(Completion[] completions, long step) =>
        RewardChecks.Check(reward.Name, completions, trainer.Hooks.Scores(step, reward.Score(completions)),
            requireFinite: trainer.Config.Divergence.NonFiniteRewardAction == GuardAction.Stop);
}
