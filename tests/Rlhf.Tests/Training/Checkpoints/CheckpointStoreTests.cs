using System.Text.Json;
using System.Text.Json.Nodes;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Training;
using Rlhf.Training.Checkpoints;
using Rlhf.Training.Optimization;
using Rlhf.Weights;
using static TorchSharp.torch;
using Parameter = TorchSharp.Modules.Parameter;

namespace Rlhf.Tests.Training.Checkpoints;

public sealed class CheckpointStoreTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    /// <summary>Two parameters whose values follow from the step alone.</summary>
    private sealed class Trainer : IResumable, IDisposable
    {
        private readonly KeyValuePair<string, Parameter>[] parameters;
        private long step;

        public Trainer(int width = 3)
        {
            LibTorch.Initialize();
            parameters = [new("a", new(zeros(2, width))), new("b", new(zeros(width)))];
            Optimizer = new(parameters);
        }

        public double Number { get; set; }

        public long StepCount => step;

        public IReadOnlyList<StateFile> Files =>
        [
            new("model.safetensors", parameters.Select(p => KeyValuePair.Create(p.Key, (Tensor)p.Value))),
            new("optimizer.safetensors", Optimizer.State),
        ];

        public Adam Optimizer { get; }

        public void GoTo(long step, double number = 0)
        {
            (this.step, Number) = (step, number);
            using var noGrad = no_grad();
            foreach (var (name, tensor) in parameters)
                tensor.fill_(step + name.Length / 8.0);
            foreach (var state in Optimizer.States)
            {
                state.FirstMoment.fill_(step + 0.25);
                state.SecondMoment.fill_(step + 0.5);
                state.Steps.fill_(step);
            }
        }

        public float[] Values => [.. parameters.Select(p => (Tensor)p.Value)
            .Concat(Optimizer.States.SelectMany(s => (Tensor[])[s.FirstMoment, s.SecondMoment, s.Steps]))
            .SelectMany(t => t.detach().cpu().data<float>().ToArray())];

        public void SaveModel(string path) =>
            WeightFiles.Save(path, [.. parameters.Select(p => KeyValuePair.Create(p.Key, (Tensor)p.Value))]);

        public JsonNode CaptureState() => new JsonObject
        {
            ["step"] = step,
            ["number"] = JsonValue.Create(Number.ToString("R", System.Globalization.CultureInfo.InvariantCulture)),
        };

        public void RestoreState(JsonElement state) => (step, Number) = (state.GetProperty("step").GetInt64(),
            double.Parse(state.GetProperty("number").GetString()!, System.Globalization.CultureInfo.InvariantCulture));

        public void Dispose()
        {
            Optimizer.Dispose();
            foreach (var p in parameters)
                p.Value.Dispose();
        }
    }

    [Fact]
    public void Everything_comes_back()
    {
        var store = new CheckpointStore(folder.Path);
        using var saved = new Trainer();
        saved.GoTo(7, 0.1 + 0.2);
        var checkpoint = store.Save(saved, saved.SaveModel, 1.5, TimeSpan.FromSeconds(3));
        Assert.Equal((7L, 1.5), (checkpoint.Step, checkpoint.Score));

        using var other = new Trainer();
        var restored = store.Restore(other);
        Assert.Equal((7L, 1.5, TimeSpan.FromSeconds(3)),
            (restored!.Value.Checkpoint.Step, restored.Value.Checkpoint.Score, restored.Value.Elapsed));
        Assert.Equal((7L, 0.1 + 0.2), (other.StepCount, other.Number));
        Assert.Equal(saved.Values, other.Values);
    }

    [Fact]
    public void The_newest_and_the_best_are_kept()
    {
        var store = new CheckpointStore(folder.Path) { KeepLast = 2 };
        using var trainer = new Trainer();
        double?[] scores = [0.5, 2, 1, null, double.NaN, 1.5];
        for (int i = 0; i < scores.Length; i++)
        {
            trainer.GoTo(10 * (i + 1));
            store.Save(trainer, trainer.SaveModel, scores[i]);
        }
        Assert.Equal([60L, 50, 20], store.List().Select(c => c.Step));
        Assert.Equal(20, store.Best!.Step);
        Assert.Equal(["checkpoint-20", "checkpoint-50", "checkpoint-60"],
            Directory.GetDirectories(folder.Path).Select(p => Path.GetFileName(p)).Order());
    }

    [Fact]
    public void What_cannot_be_removed_is_told_apart()
    {
        var store = new CheckpointStore(folder.Path) { KeepLast = 1 };
        using var trainer = new Trainer();
        trainer.GoTo(1);
        store.Save(trainer, trainer.SaveModel);
        trainer.GoTo(2);
        // A file where the first one is to go before it is removed.
        var error = Assert.Throws<IOException>(() => store.Save(trainer, path =>
        {
            trainer.SaveModel(path);
            File.WriteAllText(Path.Combine(folder.Path, ".unfinished-removed-checkpoint-1"), "");
        }));
        Assert.Contains("checkpoint-1 is not needed any more and could not be removed", error.Message);
        Assert.Equal([2L, 1], store.List().Select(c => c.Step));
        File.Delete(Path.Combine(folder.Path, ".unfinished-removed-checkpoint-1"));
        store.Rotate(keep: 1);
        Assert.Equal([2L, 1], store.List().Select(c => c.Step));
        store.Rotate();
        Assert.Equal([2L], store.List().Select(c => c.Step));
    }

    [Fact]
    public void A_model_that_computes_no_finite_numbers_is_not_saved()
    {
        var store = new CheckpointStore(folder.Path) { KeepLast = 1 };
        using var trainer = new Trainer();
        trainer.GoTo(1);
        store.Save(trainer, trainer.SaveModel);
        trainer.GoTo(2);
        using (no_grad())
            trainer.Files[0].Tensors.First().Value[0, 0] = double.PositiveInfinity;
        var error = Assert.Throws<TrainingDivergedException>(() => store.Save(trainer, trainer.SaveModel));
        Assert.Equal((2L, true), (error.Step, error.WeightsAreDamaged));
        Assert.Equal([1L], store.List().Select(c => c.Step));
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("{\"step\":2}")]
    [InlineData("{\"step\":\"x\",\"number\":\"0\"}")]
    [InlineData("{\"step\":7,\"number\":\"0\"}")]
    [InlineData("{\"step\":2,\"number\":\"x\"}")]
    public void Numbers_of_another_trainer_leave_this_one_as_it_was(string state)
    {
        var store = new CheckpointStore(folder.Path);
        using var trainer = new Trainer();
        foreach (int step in (int[])[1, 2])
        {
            trainer.GoTo(step, number: 5);
            store.Save(step == 2 ? new Saying(trainer, state) : trainer, trainer.SaveModel);
        }
        trainer.GoTo(9, number: 3);
        var last = store.List()[0];
        Assert.Contains("trainer_state.json does not hold", Assert.Throws<InvalidDataException>(() => last.Restore(trainer)).Message);
        Assert.Equal((9L, 3.0), (trainer.StepCount, trainer.Number));
        Assert.Equal(1, store.Restore(trainer)!.Value.Checkpoint.Step);
    }

    private sealed class Saying(Trainer inner, string state) : IResumable
    {
        public long StepCount => inner.StepCount;

        public IReadOnlyList<StateFile> Files => inner.Files;

        public JsonNode CaptureState() => JsonNode.Parse(state)!;

        public void RestoreState(JsonElement state) => inner.RestoreState(state);
    }

    [Fact]
    public void A_checkpoint_that_cannot_be_written_leaves_the_others()
    {
        var store = new CheckpointStore(folder.Path);
        using var trainer = new Trainer();
        trainer.GoTo(1);
        store.Save(trainer, trainer.SaveModel);
        trainer.GoTo(2);
        Assert.Throws<IOException>(() => store.Save(trainer, path =>
        {
            trainer.SaveModel(path);
            throw new IOException("disk full");
        }));
        Assert.Equal(["checkpoint-1"], Directory.GetDirectories(folder.Path).Select(p => Path.GetFileName(p)));
        Assert.Equal(1, store.Restore(trainer)!.Value.Checkpoint.Step);
    }

    [Fact]
    public void Every_flipped_byte_is_found_in_every_file()
    {
        var store = new CheckpointStore(folder.Path) { KeepLast = 5 };
        using var trainer = new Trainer();
        trainer.GoTo(1);
        store.Save(trainer, trainer.SaveModel);
        trainer.GoTo(2);
        var last = store.Save(trainer, trainer.SaveModel);
        var random = new Random(1);
        foreach (var path in Directory.GetFiles(last.Folder))
        {
            var whole = File.ReadAllBytes(path);
            for (int n = 0; n < 12; n++)
            {
                var damaged = whole.ToArray();
                damaged[random.Next(damaged.Length)] ^= (byte)(1 << random.Next(8));
                File.WriteAllBytes(path, damaged);
                try
                {
                    last.Restore(trainer);
                    // A manifest may be spelt in several ways; that it lists the same files is what counts.
                    Assert.Equal("manifest.json", Path.GetFileName(path));
                }
                catch (InvalidDataException e)
                {
                    Assert.Contains(Path.GetFileName(last.Folder), e.Message);
                }
            }
            File.WriteAllBytes(path, whole);
        }
        last.Restore(trainer);
    }

    [Fact]
    public void Damaged_ones_are_told_and_set_aside()
    {
        var store = new CheckpointStore(folder.Path);
        using var trainer = new Trainer();
        foreach (int step in (int[])[1, 2])
        {
            trainer.GoTo(step);
            store.Save(trainer, trainer.SaveModel);
        }
        File.Delete(Path.Combine(store.PathOf(2), "optimizer.safetensors"));
        List<string> told = [];
        Assert.Equal(1, store.Restore(trainer, (path, why) => told.Add($"{Path.GetFileName(path)}: {why}"))!.Value.Checkpoint.Step);
        Assert.Equal(1.125f, trainer.Values[0]);
        Assert.Matches("^checkpoint-2: .*optimizer.safetensors is missing", Assert.Single(told));
        Assert.True(Directory.Exists(Path.Combine(folder.Path, "set-aside-checkpoint-2")));
    }

    [Fact]
    public void A_manifest_cannot_point_outside_its_folder()
    {
        var store = new CheckpointStore(folder.Path);
        using var trainer = new Trainer();
        trainer.GoTo(1);
        var saved = store.Save(trainer, trainer.SaveModel);
        string manifest = Path.Combine(saved.Folder, "manifest.json");
        File.WriteAllText(manifest,
            File.ReadAllText(manifest).Replace("\"model.safetensors\"", "\"../../model.safetensors\"", StringComparison.Ordinal));
        Assert.Contains("outside its folder", Assert.Throws<InvalidDataException>(() => saved.Restore(trainer)).Message);
    }

    [Fact]
    public void Other_models_or_data_are_refused_by_name_and_nothing_is_taken()
    {
        using var trainer = new Trainer();
        trainer.GoTo(3);
        new CheckpointStore(folder.Path) { Inputs = new Dictionary<string, string> { ["--model"] = "a", ["--dataset"] = "b" } }
            .Save(trainer, trainer.SaveModel);
        using var other = new Trainer();
        var store = new CheckpointStore(folder.Path) { Inputs = new Dictionary<string, string> { ["--model"] = "a", ["--dataset"] = "c" } };
        Assert.StartsWith("--dataset", Assert.Single(Assert.Throws<ConfigurationException>(() => store.Restore(other)).Problems));
        Assert.Equal(0, other.StepCount);
        Assert.True(Directory.Exists(store.PathOf(3)));

        using var wider = new Trainer(width: 4);
        Assert.Null(new CheckpointStore(folder.Path).Restore(wider));
        Assert.All(wider.Values, v => Assert.Equal(0, v));
    }

    [Fact]
    public void A_trainer_in_the_middle_of_a_step_is_not_saved()
    {
        using var trainer = new Trainer();
        Assert.Throws<InvalidOperationException>(() => new CheckpointStore(folder.Path).Save(new Halfway(trainer), trainer.SaveModel));
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
    }

    private sealed class Halfway(Trainer inner) : IResumable
    {
        public bool IsBetweenSteps => false;

        public long StepCount => inner.StepCount;

        public IReadOnlyList<StateFile> Files => inner.Files;

        public JsonNode CaptureState() => inner.CaptureState();

        public void RestoreState(JsonElement state) => inner.RestoreState(state);
    }
}
