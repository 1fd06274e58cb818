using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Runtime;
using Rlhf.Weights;
using static TorchSharp.torch;

namespace Rlhf.Export.Gguf;

/// <summary>
/// A LoRA adapter alone as llama.cpp reads it: <c>NAME.lora_a</c> [r, in] and <c>NAME.lora_b</c> [out, r] beside the base's tensor NAME, and one
/// alpha, which llama.cpp divides by each tensor's own rank.
/// </summary>
internal static class GgufAdapter
{
    /// <summary>Writes an adapter.</summary>
    /// <param name="source">The adapter's folder.</param>
    /// <param name="target">The file.</param>
    /// <param name="type">f32, f16 or bf16.</param>
    /// <param name="map">How the base is written.</param>
    /// <exception cref="ConfigurationException">It is no adapter, or the type is another one.</exception>
    /// <exception cref="InvalidDataException">llama.cpp's adapters cannot say what it does.</exception>
    public static ExportResult Write(ExportSource source, string target, GgufTensorType type, GgufMap map)
    {
        if (!AdapterFolder.IsAdapter(source.Folder))
            throw new ConfigurationException([$"{source.Folder} is a whole model and no adapter; leave AdapterOnly out."]);
        if (type.IsQuantized())
            throw new ConfigurationException([$"Dtype is {GgufFormat.Text(type)}; an adapter alone is stored as f32, f16 or bf16."]);
        var config = LoraConfigFile.Read(source.Folder).Config;
        string? problem = config.UseDora ? "it is a DoRA adapter" : config.Bias != LoraBias.None ? "it changes biases"
            : config.ModulesToSave.Count > 0 ? $"it has layers of its own ({string.Join(", ", config.ModulesToSave)})" : null;
        if (problem is not null)
            throw Refuse(source, problem);

        string folder = AdapterFolder.BaseOf(source.Folder);
        using var model = AutoModelForCausalLM.FromPretrained(folder, ExportedModel.Plan(folder));
        var adapter = LoraAdapter.Load(model, source.Folder);
        var layers = model.Linears.Where(l => l.Adapter is not null).Select(l => (l.Name, Layer: l.Adapter!)).ToArray();
        if (layers.Length == 0)
            throw Refuse(source, "it changes nothing");
        var byParameter = map.Tensors.ToLookup(t => t.Parameter);
        double alpha = layers[0].Layer.Scale * layers[0].Layer.A.shape[0];

        var file = new GgufFile();
        GgufGeneral.Write(file, map.Architecture, "adapter", source);
        file.Set("adapter.type", "lora");
        file.Set("adapter.lora.alpha", (float)alpha);
        foreach (var (name, layer) in layers)
        {
            if (byParameter[name + ".weight"].ToArray() is not [var tensor])
                throw Refuse(source, $"it changes {name}, which has no tensor of its own in the base's file");
            double scale = tensor.Scale * layer.Scale * layer.A.shape[0] / alpha;
            file.Add(tensor.Name + ".lora_a", layer.A.shape, type, () => layer.A.detach());
            file.Add(tensor.Name + ".lora_b", layer.B.shape, type, () => GgufFormat.Arranged(layer.B.detach(), tensor.Rows, add: 0, scale));
        }
        long bytes = GgufFormat.Save(file, target);
        return new(target, $"LoRA of {map.Architecture}", adapter.ElementCount, bytes, GgufFormat.Text(type))
        {
            Notes = [$"Put it on the GGUF of its base, {Path.GetFileName(Path.GetFullPath(folder))}."],
        };
    }

    private static InvalidDataException Refuse(ExportSource source, string why) => new(
        $"{source.Folder}: llama.cpp cannot put this adapter on a model, because {why}; export the merged model instead.");
}
