using Rlhf.Models;
using Rlhf.Reporting;
using Rlhf.Runs;
using Rlhf.Runtime.Native;
using Rlhf.Tests.Toys;
using Rlhf.Tracking;
using Rlhf.Training.Sft;
using static TorchSharp.torch;

namespace Rlhf.Tests.Models;

/// <summary>A family of one's own, made of public types alone: it is trained, resumed, saved, found again by its model_type and reported.</summary>
public sealed class OwnFamilyTests
{
    private static readonly TrainingKind Kind = new("bigram-sft", "bigram training");
    private static readonly SftConfig Config = new() { LearningRate = 0.1, BatchSize = 4, NumTrainEpochs = 15, EvalSteps = 4, Seed = 1 };

    // Token t is followed by t + 1, so that a bigram model can learn it whole.
    private static readonly SftExample[] Texts = [.. Enumerable.Range(0, 12).Select(i => new SftExample([.. Enumerable.Range(0, 6).Select(t => (i + t) % 16)]))];

    [Fact]
    public void ItIsTrainedResumedSavedFoundAndReported()
    {
        LibTorch.Initialize();
        ModelFamilies.Register(new BigramFamily());
        TrainingKinds.Register(Kind);
        using var place = new Fixtures.TemporaryFolder();
        string whole = Path.Combine(place.Path, "whole"), stopped = Path.Combine(place.Path, "stopped");
        var expected = Train(whole);
        Assert.Equal(expected, Train(stopped, stopAt: 7).Concat(Train(stopped)));

        using var first = AutoModelForCausalLM.FromPretrained(Path.Combine(whole, "model"));
        using var second = AutoModelForCausalLM.FromPretrained(Path.Combine(stopped, "model"));
        Assert.IsType<Bigram>(first);
        Assert.All(first.Parameters, p => Assert.True(p.Value.Equals(second.Parameters[p.Key])));
        using var scope = NewDisposeScope();
        using var batch = PackedBatch.FromRows([[0, 1, 2]]);
        Assert.Equal([1L, 2, 3], first.Logits(first.Forward(batch)).argmax(1).data<long>().ToArray());

        var run = RunData.Load(stopped);
        Assert.Equal(Outcome.Improved, RunVerdict.Of(run).Outcome);
        Assert.Contains("bigram training", RunReport.Of(run, []));
    }

    private static List<double> Train(string folder, int? stopAt = null)
    {
        using var model = new Bigram(BigramFamily.Config(vocabulary: 16, width: 16));
        model.Initialize(1);
        using var trainer = new SftTrainer(model, Config);
        using var stop = new CancellationTokenSource();
        using var session = TrainingSession.Open(Kind, new(folder) { Resume = true, Settings = [Config], SaveEvery = 5 });
        List<double> losses = [];
        long steps = Config.TotalSteps(Texts.Length);
        var last = session.Train(trainer, path => model.SavePretrained(path), steps, sinks => trainer.Train(Texts, Texts[..4], state =>
        {
            losses.Add(state.Loss);
            sinks.Write(new MetricRecord(state.Step, DateTimeOffset.UtcNow, state.Scalars()));
            session.AfterStep(state.BadStepsInARow == 0, -state.Evaluation?.Loss);
            if (state.Step == stopAt)
                stop.Cancel();
        }, stop.Token), stop.Token);
        model.SavePretrained(session.Model);
        session.Finish(last.Step >= steps, new { Steps = last.Step, EvalLoss = last.Evaluation?.Loss });
        return losses;
    }
}
