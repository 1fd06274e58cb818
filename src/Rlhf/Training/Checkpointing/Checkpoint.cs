using System.Text.Json;
using Rlhf.Checkpoints;
using Rlhf.Runtime;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Training.Checkpointing;

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
    /// <exception cref="InvalidDataException">A file is missing or damaged; the trainer is as it was before.</exception>
    /// <exception cref="ConfigurationException">The models or data of the run have changed.</exception>
    public TimeSpan Restore(IResumable trainer, IReadOnlyDictionary<string, string>? inputs = null)
    {
        var state = Check(trainer, inputs ?? new Dictionary<string, string>());
        Take(trainer, state);
        return state.Elapsed;
    }

    /// <summary>Reads all but the tensors, and sees that these are there, whole and of the right shapes.</summary>
    /// <exception cref="InvalidDataException">A file is missing or damaged.</exception>
    /// <exception cref="ConfigurationException">The models or data of the run have changed.</exception>
    internal CheckpointState Check(IResumable trainer, IReadOnlyDictionary<string, string> inputs)
    {
        CheckpointManifest.Load(Folder).Verify(Folder);
        var state = CheckpointJson.Read<CheckpointState>(Path.Combine(Folder, StateFile), MostStateBytes);
        ConfigurationException.ThrowIfAny([.. state.Inputs.Where(i => inputs.TryGetValue(i.Key, out var now) && now != i.Value)
            .Select(i => $"{i.Key}: the content is not what the run began with. A run goes on with the same models and data; "
                + "begin a new run in another folder instead.")]);
        using var files = new Files(Folder);
        foreach (var (source, name, tensor) in files.Tensors(trainer))
            if (!source.Names.Contains(name) || !source.Shape(name).SequenceEqual(tensor.shape))
                throw new InvalidDataException($"{source.Path} holds no tensor {name} of this model's shape.");
        return state;
    }

    /// <summary>Takes everything over.</summary>
    internal void Take(IResumable trainer, CheckpointState state)
    {
        trainer.RestoreState(state.Trainer);
        using var noGrad = no_grad();
        using var files = new Files(Folder);
        foreach (var (source, name, tensor) in files.Tensors(trainer))
            source.ReadInto(name, tensor);
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
