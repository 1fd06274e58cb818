using System.Runtime.Loader;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;

namespace Rlhf.Tests.Runtime;

public sealed class LoadContextTests
{
    [Fact]
    public void Libtorch_is_found_from_a_context_of_its_own_such_as_a_notebooks()
    {
        var context = new AssemblyLoadContext("notebook");
        context.LoadFromAssemblyPath(Path.Combine(AppContext.BaseDirectory, "TorchSharp.dll"));
        var library = context.LoadFromAssemblyPath(Path.Combine(AppContext.BaseDirectory, "Rlhf.Inference.dll"));
        var devices = library.GetType(typeof(Devices).FullName!)!;
        Assert.NotSame(typeof(Devices), devices);
        Assert.Equal("cpu", devices.GetMethod(nameof(Devices.Resolve))!.Invoke(null, ["cpu"])!.ToString());
    }
}
