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
/// <c>optimizer.safetensors</c> with <c>exp_avg.NAME</c>, <c>exp_avg_sq.NAME</c> and <c>step.NAME</c>;
/// <c>trainer_state.json</c>; <c>manifest.json</c>.
/// </remarks>
/// <param name="Folder">Its folder.</param>
/// <param name="Step">Steps that were taken before it.</param>
/// <param name="Score">How good the run was then, larger is better; null: not known.</param>
public sealed record Checkpoint(string Folder, long Step, double? Score)
{
    private const string OptimizerFile = "optimizer.safetensors", StateFile = "trainer_state.json";
    private const long MostStateBytes = 16 << 20;

    /// <summary>Writes all files but the manifest's into a folder that exists.</summary>
    internal static void Write(
        string folder, IResumable trainer, Action<string> saveModel, IReadOnlyDictionary<string, string> inputs, TimeSpan elapsed)
    {
        saveModel(folder);
        SafeTensors.Save(Path.Combine(folder, OptimizerFile), Moments(trainer));
        var state = new CheckpointState(inputs, elapsed, JsonSerializer.SerializeToElement(trainer.CaptureState(), CheckpointJson.Options));
        AtomicFile.WriteAllText(Path.Combine(folder, StateFile), JsonSerializer.Serialize(state, CheckpointJson.Options) + "\n");
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
        foreach (var needed in (string[])[StateFile, OptimizerFile])
            if (manifest.Files.All(f => f.Name != needed))
                throw new InvalidDataException($"{Folder}: the manifest lists no {needed}.");
        var state = ReadState(Folder);
        ConfigurationException.ThrowIfAny([.. state.Inputs.Where(i => inputs.TryGetValue(i.Key, out var now) && now != i.Value)
            .Select(i => $"{i.Key}: the content is not what the run began with. A run goes on with the same models and data; "
                + "begin a new run in another folder instead.")]);
        using var files = new Files(Folder);
        foreach (var (source, name, tensor) in files.Tensors(trainer))
            if (!source.Names.Contains(name) || !source.Shape(name).SequenceEqual(tensor.shape))
                throw new InvalidDataException($"{source.Path} holds no tensor {name} of this model's shape.");
        return state;
    }

    /// <summary>Reads what a trainer's numbers lie among.</summary>
    /// <exception cref="InvalidDataException">It is missing or damaged.</exception>
    internal static CheckpointState ReadState(string folder)
    {
        string path = Path.Combine(folder, StateFile);
        var state = CheckpointJson.Read<CheckpointState>(path, MostStateBytes);
        return CheckpointJson.IsSound(state.Elapsed) && state.Inputs.Values.All(v => v is not null) ? state
            : throw new InvalidDataException($"{path} is damaged: it holds numbers that no run saves.");
    }

    /// <summary>Takes the tensors over, which were checked.</summary>
    internal void TakeTensors(IResumable trainer)
    {
        using var noGrad = no_grad();
        using var files = new Files(Folder);
        foreach (var (source, name, tensor) in files.Tensors(trainer))
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
                $"{Path.Combine(Folder, StateFile)} does not hold what this trainer saves: {UntrustedText.Clean(e.Message)}", e);
        }
    }

    private sealed class Files(string folder) : IDisposable
    {
        private readonly IWeightSource weights = WeightFiles.Open(folder);
        private readonly IWeightSource optimizer = WeightFiles.OpenFile(Path.Combine(folder, OptimizerFile));

        public IEnumerable<(IWeightSource Source, string Name, Tensor Tensor)> Tensors(IResumable trainer) =>
            trainer.ResumableParameters.Select(p => (weights, p.Key, (Tensor)p.Value))
                .Concat(Moments(trainer).Select(m => (optimizer, m.Key, m.Value)));

        public void Dispose()
        {
            weights.Dispose();
            optimizer.Dispose();
        }
    }

    private static IEnumerable<KeyValuePair<string, Tensor>> Moments(IResumable trainer) => trainer.Optimizer.States.SelectMany(s =>
        (KeyValuePair<string, Tensor>[])
        [
            new("exp_avg." + s.Name, s.FirstMoment), new("exp_avg_sq." + s.Name, s.SecondMoment), new("step." + s.Name, s.Steps),
        ]);
}

/// <param name="Inputs">What the run works on: fingerprints of models and data, by name.</param>
/// <param name="Elapsed">Time that the run had taken.</param>
/// <param name="Trainer">The trainer's own numbers.</param>
internal sealed record CheckpointState(IReadOnlyDictionary<string, string> Inputs, TimeSpan Elapsed, JsonElement Trainer);
