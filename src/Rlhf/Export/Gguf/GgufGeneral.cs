using System.Globalization;
using Rlhf.Weights;

namespace Rlhf.Export.Gguf;

/// <summary>What a GGUF file says about itself (<c>general.</c>).</summary>
internal static class GgufGeneral
{
    /// <summary>Writes kind, name, license and origin, as far as they are known.</summary>
    /// <param name="file">The file.</param>
    /// <param name="architecture">llama.cpp's name of the family.</param>
    /// <param name="kind"><c>model</c> or <c>adapter</c>.</param>
    /// <param name="source">The model.</param>
    public static void Write(GgufFile file, string architecture, string kind, ExportSource source)
    {
        file.Set("general.architecture", architecture);
        file.Set("general.type", kind);
        file.Set("general.name", source.Name);
        file.Set("general.license", ExportedModel.CardValue(source.Folder, "license"));
        string? origin = source.BaseModel ?? ExportedModel.CardValue(source.Folder, "base_model")
            ?? (AdapterFolder.IsAdapter(source.Folder) ? AdapterFolder.BaseName(source.Folder).Name : null);
        if (origin is null)
            return;
        bool isOfTheHub = Hub.HubRepo.IsId(origin);
        string[] parts = origin.Split('/');
        file.Set("general.base_model.count", 1u);
        file.Set("general.base_model.0.name", parts[^1]);
        file.Set("general.base_model.0.organization", isOfTheHub && parts.Length == 2 ? parts[0] : null);
        file.Set("general.base_model.0.repo_url", isOfTheHub && parts.Length == 2 ? "https://huggingface.co/" + origin : null);
    }

    /// <summary>A number of weights in three digits, such as 135M.</summary>
    public static string SizeLabel(long parameters)
    {
        (double scaled, string unit) = parameters switch
        {
            >= 1_000_000_000 => (parameters / 1e9, "B"),
            >= 1_000_000 => (parameters / 1e6, "M"),
            _ => (parameters / 1e3, "K"),
        };
        return scaled.ToString(scaled < 10 ? "0.#" : "0", CultureInfo.InvariantCulture) + unit;
    }
}
