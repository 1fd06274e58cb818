using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Rlhf.Data;
using Rlhf.Data.Batching;
using Rlhf.Evaluation;
using Rlhf.Generation;
using Rlhf.Models;
using Rlhf.Reporting;
using Rlhf.Rewards;
using Rlhf.Runs;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Tests.Docs;
using Rlhf.Tests.Evaluation;
using Rlhf.Tests.Toys;
using Rlhf.Training.Loop;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Runs;

/// <summary>
/// A family and an algorithm of another assembly together: registered, trained on their own answers, stopped and resumed, reported, exported.
/// </summary>
public sealed class OwnFamilyAndAlgorithmTests : IDisposable
{
    private const int Vocabulary = 16, Steps = 40, StopAfter = 17;
    private static readonly ReinforceConfig Config = new() { Seed = 5 };
    private static readonly Query[] Queries = [.. Enumerable.Range(0, Vocabulary).Select(i => new Query([i], $"{i} "))];
    private readonly Fixtures.TemporaryFolder place = new();

    public OwnFamilyAndAlgorithmTests()
    {
        LibTorch.Initialize();
        ModelFamilies.Register(new BigramFamily());
        TrainingKinds.Register(Reinforce.Kind);
    }

    public void Dispose() => place.Dispose();

    [Theory]
    [InlineData("Bigram.cs")]
    [InlineData("Reinforce.cs")]
    public void TheyCompileWhereNothingInternalCanBeSeen(string file)
    {
        // An assembly of a name that no InternalsVisibleTo knows.
        string source = File.ReadAllText(Path.Combine(Fixtures.Repository(), "tests", "Rlhf.Tests", "Toys", file));
        var stranger = CSharpCode.Compile(source).WithAssemblyName("Stranger")
            .WithOptions(new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, nullableContextOptions: NullableContextOptions.Enable));
        Assert.Empty(stranger.GetDiagnostics().Where(d => d.Severity == DiagnosticSeverity.Error).Select(d => d.ToString()));
    }

    [Fact]
    public void TheyAreTrainedResumedReportedAndExported()
    {
        string whole = Path.Combine(place.Path, "whole"), run = Path.Combine(place.Path, "run"), exported = Path.Combine(place.Path, "exported");

        // Trained, and resumed to the bit.
        var expected = Train(whole);
        var first = Train(run, StopAfter);
        Assert.Equal((StopAfter, RunState.Stopped), (first.Count, RunInfo.Load(run)!.State));
        Assert.Equal(expected, first.Concat(Train(run)));
        Assert.Equal(RunState.Finished, RunInfo.Load(run)!.State);
        Assert.True(expected.TakeLast(5).Average() > expected.Take(5).Average() + 1, string.Join(' ', expected));

        // Refused where a setting may not change.
        var refused = Assert.Throws<ConfigurationException>(() => TrainingSession.Open(Reinforce.Kind,
            new(run) { Resume = true, Settings = [Config with { BatchSize = 4, LearningRate = 1 }] }));
        Assert.Equal("BatchSize is 4, and the run began with 8.", refused.Problems[0]);

        // Reported, by what its kind says.
        var data = RunData.Load(run);
        Assert.Equal(Reinforce.Kind, data.Kind);
        Assert.Equal(expected, data.Metric("reinforce/reward").Values);
        var verdict = RunVerdict.Of(data);
        Assert.Equal(Outcome.Improved, verdict.Outcome);
        Assert.StartsWith("Score of held-out answers rose from", verdict.Sentence);
        string page = RunReport.Of(data, []);
        Assert.Contains("REINFORCE", page);
        Assert.Contains("Score of the answers", page);
        Assert.Contains("<svg", page);

        // Exported, as rlhf export does: without a value head, in 16 bits; found again by its model_type.
        using (var trained = CausalLMWithValueHead.FromPretrained(Path.Combine(run, RunFiles.Model)))
            trained.SavePretrained(exported, ScalarType.Float16, includeValueHead: false);
        using var original = AutoModelForCausalLM.FromPretrained(Path.Combine(run, RunFiles.Model));
        using var again = AutoModelForCausalLM.FromPretrained(exported);
        Assert.IsType<Bigram>(again);
        Assert.Equal(["head.weight", "table.weight"], again.Parameters.Select(p => p.Key).Order());
        using var scope = NewDisposeScope();
        Assert.All(again.Parameters, p => Assert.True(p.Value.Equals(original.Parameters[p.Key].to(ScalarType.Float16).to(ScalarType.Float32))));
        Assert.Equal(Answer(original), Answer(again));
    }

    [Fact]
    public void PoliciesOfTheFamilyAreComparedBeforeAndAfter()
    {
        using var before = Untrained();
        using var policy = Untrained();
        using var trainer = new Reinforce(policy, Config);
        using var reward = Reward();
        var tokenizer = new NumberTokenizer(Vocabulary);
        new RolloutRun(trainer, new TextGenerator(policy), tokenizer, reward, Queries, Plan).Train(Steps);
        var comparison = new PolicyEvaluator(tokenizer, [.. Queries.Select(q => q.TokenIds)], reward)
        {
            ResponseLengths = [.. Queries.Select(_ => 4)],
        }.Compare(before, policy);
        Assert.True(comparison.RewardGain.MeanCi95.Low > 0);
        Assert.True(comparison.After.Kl > 0);
    }

    private static RolloutPlan Plan => new(Lengths: new LengthSampler(4, 5));

    /// <summary>How many of an answer's tokens are below 4: 1 of 4 by chance.</summary>
    private static DelegateReward Reward() =>
        new("small-numbers", completion => completion.Response.Split(' ').Count(word => int.Parse(word, System.Globalization.CultureInfo.InvariantCulture) < 4));

    private static Bigram Untrained()
    {
        var model = new Bigram(BigramFamily.Config(Vocabulary, width: 16));
        model.Initialize(1);
        return model;
    }

    /// <summary>One session of a run, stopped after a step or not at all: its mean scores.</summary>
    private static List<double> Train(string folder, int? stopAfter = null)
    {
        using var policy = Untrained();
        using var trainer = new Reinforce(policy, Config);
        using var reward = Reward();
        using var stop = new CancellationTokenSource();
        using var session = TrainingSession.Open(Reinforce.Kind, new(folder) { Resume = true, Settings = [Config], SaveEvery = 6, Command = "my program" });
        var run = new RolloutRun(trainer, new TextGenerator(policy), new NumberTokenizer(Vocabulary), reward, Queries, Plan);
        List<double> scores = [];
        long done = session.Train(trainer, path => policy.SavePretrained(path), Steps, sinks => run.Train(Steps, step =>
        {
            scores.Add(step.Statistics.RewardMean);
            sinks.Write(step.GameLog());
            sinks.Write(step.Metrics);
            session.AfterStep(step.BadStepsInARow == 0, step.Statistics.RewardMean);
            if (step.Step == stopAfter)
                stop.Cancel();
        }, stop.Token), stop.Token);
        policy.SavePretrained(session.Model);
        session.Finish(done >= Steps, new { Steps = done, Seconds = session.Elapsed.TotalSeconds, MeanScore = scores[^1] });
        return scores;
    }

    private static int[] Answer(CausalLM model) => new TextGenerator(model).Generate(
        [[0], [5]], new GenerationConfig { DoSample = false, MaxNewTokens = 6 }, null, new RandomStream(0, "test")).Responses.SelectMany(r => r).ToArray();
}
