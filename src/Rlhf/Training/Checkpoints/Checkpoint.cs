using System.Text.Json;
using Rlhf.Runtime;
using Rlhf.Runtime.Files;
using Rlhf.Runtime.Text;
using Rlhf.Weights;
using static TorchSharp.torch;

namespace Rlhf.Training.Checkpoints;

/// <summary>One checkpoint of a run: a model folder that also holds the optimizer's moments and the trainer's numbers.</summary>
/// <remarks>
/// <c>model.safetensors</c> and the other files of the model in float32, so that the folder loads like any model;
/// or the files that the trainer names (<see cref="IResumable.Files"/>), such as an adapter's; <c>optimizer.safetensors</c> with <c>exp_avg.NAME</c>, <c>exp_avg_sq.NAME</c> and <c>step.NAME</c>;
/// <c>trainer_state.json</c>; <c>manifest.json</c>.
/// </remarks>
/// <param name="Folder">Its folder.</param>
/// <param name="Step">Steps that were taken before it.</param>
/// <param name="Score">How good the run was then, larger is better; null: not known.</param>
public sealed record Checkpoint(string Folder, long Step, double? Score)
{
    private const string NumbersFile = "trainer_state.json";
    private const long MostStateBytes = 16 << 20;

    /// <summary>Writes all files but the manifest's into a folder that exists.</summary>
    internal static void Write(
        string folder, IResumable trainer, Action<string> saveModel, IReadOnlyDictionary<string, string> inputs, TimeSpan elapsed)
    {
        saveModel(folder);
        foreach (var file in trainer.Files.Where(f => !IsThere(folder, f.Name)))
            SafeTensors.Save(Path.Combine(folder, file.Name), file.Tensors);
        var state = new CheckpointState(inputs, elapsed, JsonSerializer.SerializeToElement(trainer.CaptureState(), CheckpointJson.Options));
        AtomicFile.WriteAllText(Path.Combine(folder, NumbersFile), JsonSerializer.Serialize(state, CheckpointJson.Options) + "\n");
    }

    /// <summary>Brings a trainer to where it stood, after every file has been compared with the manifest.</summary>
    /// <param name="trainer">A trainer made from the same settings, data and first model.</param>
    /// <param name="inputs">Fingerprints of what it works on; those that the checkpoint knows must be the same.</param>
    /// <returns>The time that the run had taken.</returns>
    /// <exception cref="InvalidDataException">A file is missing or damaged, or holds what such a trainer does not save; the trainer is as it
    /// was before.</exception>
    /// <exception cref="ConfigurationException">The models or data of the run have changed.</exception>
    public TimeSpan Restore(IResumable trainer, IReadOnlyDictionary<string, string>? inputs = null)
    {
        var state = Check(trainer, inputs ?? new Dictionary<string, string>());
        TakeNumbers(trainer, state);
        TakeTensors(trainer);
        return state.Elapsed;
    }

    /// <summary>Reads all but the tensors, and sees that these are there, whole and of the right shapes.</summary>
    /// <exception cref="InvalidDataException">A file is missing or damaged.</exception>
    /// <exception cref="ConfigurationException">The models or data of the run have changed.</exception>
    internal CheckpointState Check(IResumable trainer, IReadOnlyDictionary<string, string> inputs)
    {
        var manifest = CheckpointManifest.Load(Folder);
        manifest.Verify(Folder);
        if (manifest.Step != Step)
            throw new InvalidDataException($"{Folder}: the manifest is that of step {manifest.Step}, not of step {Step}.");
        string[] listed = [.. manifest.Files.Select(f => f.Name)];
        foreach (var needed in trainer.Files.Select(f => f.Name).Where(name => name != StateFile.Model).Prepend(NumbersFile))
            if (!listed.Contains(needed))
                throw new InvalidDataException($"{Folder}: the manifest lists no {needed}.");
        var state = ReadState(Folder);
        ConfigurationException.ThrowIfAny([.. state.Inputs.Where(i => inputs.TryGetValue(i.Key, out var now) && now != i.Value)
            .Select(i => $"{i.Key}: the content is not what the run began with. A run resumes with the same models and data; "
                + "begin a new run in another folder instead.")]);
        using var files = new Files(Folder, trainer);
        foreach (var (source, name, tensor) in files.Tensors)
            if (!source.Names.Contains(name) || !source.Shape(name).SequenceEqual(tensor.shape))
                throw new InvalidDataException($"{source.Path} holds no tensor {name} of this model's shape.");
        return state;
    }

    /// <summary>Reads what a trainer's numbers lie among.</summary>
    /// <exception cref="InvalidDataException">It is missing or damaged.</exception>
    internal static CheckpointState ReadState(string folder)
    {
        string path = Path.Combine(folder, NumbersFile);
        var state = CheckpointJson.Read<CheckpointState>(path, MostStateBytes);
        return CheckpointJson.IsSound(state.Elapsed) && state.Inputs.Values.All(v => v is not null) ? state
            : throw new InvalidDataException($"{path} is damaged: it holds numbers that no run saves.");
    }

    /// <summary>Takes the tensors over, which were checked.</summary>
    internal void TakeTensors(IResumable trainer)
    {
        using var noGrad = no_grad();
        using var files = new Files(Folder, trainer);
        foreach (var (source, name, tensor) in files.Tensors)
            source.ReadInto(name, tensor);
    }

    /// <summary>Takes the trainer's numbers over.</summary>
    /// <exception cref="InvalidDataException">They are none that it can take; it is as it was before.</exception>
    internal void TakeNumbers(IResumable trainer, CheckpointState state)
    {
        var before = JsonSerializer.SerializeToElement(trainer.CaptureState(), CheckpointJson.Options);
        try
        {
            trainer.RestoreState(state.Trainer);
            if (trainer.StepCount != Step)
                throw new JsonException($"it says step {trainer.StepCount} in the checkpoint of step {Step}.");
        }
        // A trainer of one's own may read its numbers in ways that fail like this.
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException or FormatException
            or InvalidDataException)
        {
            trainer.RestoreState(before);
            throw new InvalidDataException(
                $"{Path.Combine(Folder, NumbersFile)} does not hold what this trainer saves: {UntrustedText.Clean(e.Message)}", e);
        }
    }

    /// <summary>A model's weights may also be in shards or in PyTorch's format, as in any model folder.</summary>
    private static bool IsThere(string folder, string file) => File.Exists(Path.Combine(folder, file))
        || file == StateFile.Model && WeightFiles.FileNames.Any(name => File.Exists(Path.Combine(folder, name)));

    private sealed class Files : IDisposable
    {
        private readonly List<IWeightSource> sources = [];
        private readonly List<(IWeightSource Source, string Name, Tensor Tensor)> tensors = [];

        public Files(string folder, IResumable trainer)
        {
            foreach (var file in trainer.Files)
            {
                var source = file.Name == StateFile.Model ? WeightFiles.Open(folder) : WeightFiles.OpenFile(Path.Combine(folder, file.Name));
                sources.Add(source);
                tensors.AddRange(file.Tensors.Select(t => (source, t.Key, t.Value)));
            }
        }

        public IReadOnlyList<(IWeightSource Source, string Name, Tensor Tensor)> Tensors => tensors;

        public void Dispose() => sources.ForEach(s => s.Dispose());
    }
}

/// <param name="Inputs">What the run works on: fingerprints of models and data, by name.</param>
/// <param name="Elapsed">Time that the run had taken.</param>
/// <param name="Trainer">The trainer's own numbers.</param>
internal sealed record CheckpointState(IReadOnlyDictionary<string, string> Inputs, TimeSpan Elapsed, JsonElement Trainer);
