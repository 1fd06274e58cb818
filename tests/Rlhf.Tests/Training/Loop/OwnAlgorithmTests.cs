using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Training.Checkpoints;
using Rlhf.Training.Loop;
using TorchSharp;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Tests.Training.Loop;

/// <summary>An algorithm of one's own, made of public types alone: the loop trains it, evaluates it and resumes it.</summary>
public sealed class OwnAlgorithmTests
{
    /// <summary>A point of a line.</summary>
    public sealed record Point(float X, float Y);

    /// <summary>Settings of its own beside those of every training.</summary>
    public sealed record LineConfig : TrainerConfig
    {
        public LineConfig() => (LearningRate, BatchSize) = (0.1, 4);

        public double Noise { get; init; }

        public override IEnumerable<string> Validate() =>
            Noise >= 0 ? base.Validate() : base.Validate().Append($"Noise is {Noise}; it must be 0 or more.");
    }

    /// <summary>Least squares: the sum of (slope · x + offset - y)² over points.</summary>
    public sealed class Line(LineConfig config) : IObjective<Point>, IDisposable
    {
        private readonly Parameter slope = new(zeros([1])), offset = new(zeros([1]));

        public string Name => "line";

        public IReadOnlyList<KeyValuePair<string, Parameter>> Trained => [new("slope", slope), new("offset", offset)];

        public string ModelFile => "line.safetensors";

        public double Weight(Point example) => 1;

        public int Length(Point example) => 1;

        public Point Draw(Point example, RandomStream random) => example with { Y = example.Y + (float)(config.Noise * random.NextDouble()) };

        public void Check(IReadOnlyList<Point> examples)
        {
            if (examples.Any(p => !float.IsFinite(p.Y)))
                throw new ArgumentException("A point is not finite.");
        }

        public Part ForwardBackward(IReadOnlyList<Point> minibatch, double share)
        {
            using var scope = NewDisposeScope();
            var loss = Loss(minibatch);
            (loss * share).backward();
            return PartOf(minibatch, loss);
        }

        public Part Evaluate(IReadOnlyList<Point> minibatch)
        {
            using var noGrad = no_grad();
            using var scope = NewDisposeScope();
            return PartOf(minibatch, Loss(minibatch));
        }

        public void Dispose()
        {
            slope.Dispose();
            offset.Dispose();
        }

        private Tensor Loss(IReadOnlyList<Point> points) =>
            (slope * tensor(points.Select(p => p.X).ToArray()) + offset - tensor(points.Select(p => p.Y).ToArray())).square().sum();

        private static Part PartOf(IReadOnlyList<Point> points, Tensor loss) => new(loss.item<float>(), points.Count)
        {
            Sums = new Dictionary<string, double> { ["mean_y"] = points.Sum(p => (double)p.Y) },
        };
    }

    private static readonly Point[] Points = [.. Enumerable.Range(-5, 11).Select(i => new Point(i / 5f, 3 * i / 5f - 1))];

    public OwnAlgorithmTests() => LibTorch.Initialize();

    [Fact]
    public void ItLearnsAndReportsItsOwnMeans()
    {
        var config = new LineConfig { NumTrainEpochs = 100, EvalSteps = 100 };
        using var line = new Line(config);
        using var trainer = new EpochTrainer<Point>(line, config);
        List<TrainProgress> progress = [];
        var end = trainer.Train(Points, Points, progress.Add);
        Assert.Equal((300L, 100.0, 1100L), (end.Step, end.Epoch, end.Tokens)); // 4, 4 and 3 points an epoch
        using (NewDisposeScope())
            Assert.Equal([3f, -1f], line.Trained.Select(p => MathF.Round(p.Value.item<float>(), 2)));
        Assert.InRange(end.Evaluation!.Loss, 0, 1e-4);
        Assert.Equal(-1, end.Evaluation.Metrics["mean_y"], 1e-6);
        Assert.Equal([100L, 200, 300], progress.Where(p => p.Evaluation is not null).Select(p => p.Step));
        var scalars = end.Scalars();
        Assert.Equal((end.Loss, end.Evaluation.Loss, -1), (scalars["train/loss"], scalars["eval/loss"], Math.Round(scalars["eval/mean_y"], 6)));
    }

    [Fact]
    public void ItIsResumedBitForBit()
    {
        var config = new LineConfig { NumTrainEpochs = 7, Noise = 0.5, GradientAccumulationSteps = 2, Seed = 3 };
        using var folder = new Fixtures.TemporaryFolder();
        var store = new CheckpointStore(folder.Path);
        List<double> whole = [], interrupted = [];
        using (var line = new Line(config))
        using (var trainer = new EpochTrainer<Point>(line, config))
            trainer.Train(Points, Points, p => whole.Add(p.Loss));
        using (var line = new Line(config))
        using (var trainer = new EpochTrainer<Point>(line, config))
        using (var stop = new CancellationTokenSource())
        {
            trainer.Train(Points, Points, p =>
            {
                interrupted.Add(p.Loss);
                if (p.Step == 6)
                    stop.Cancel();
            }, stop.Token);
            store.Save(trainer, _ => { }); // nothing writes the model: the trainer's files are written from its tensors
        }
        string saved = Assert.Single(Directory.GetDirectories(folder.Path));
        Assert.Equal(["line.safetensors", "manifest.json", "optimizer.safetensors", "trainer_state.json"],
            Directory.GetFiles(saved).Select(f => Path.GetFileName(f)).Order());
        using (var line = new Line(config))
        using (var trainer = new EpochTrainer<Point>(line, config))
        {
            Assert.Equal(6, store.Restore(trainer)!.Value.Checkpoint.Step);
            trainer.Train(Points, Points, p => interrupted.Add(p.Loss));
        }
        Assert.Equal(14, whole.Count);
        Assert.Equal(whole, interrupted);
    }

    [Fact]
    public void ItsSettingsAndExamplesAreChecked()
    {
        var bad = new LineConfig { Noise = -1, LearningRate = 0 };
        using var line = new Line(bad);
        Assert.Equal(2, Assert.Throws<ConfigurationException>(() => new EpochTrainer<Point>(line, bad)).Problems.Count);
        using var trainer = new EpochTrainer<Point>(line, new LineConfig());
        Assert.Contains("not finite", Assert.Throws<ArgumentException>(() => trainer.Train([new(0, float.NaN)])).Message);
        Assert.Contains("empty", Assert.Throws<ArgumentException>(() => trainer.Train([])).Message);
    }
}
