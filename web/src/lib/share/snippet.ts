// The line that puts a machine into somebody's page. Pure.

export function embedSnippet(url: string): string {
  const address = url.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
  return (
    `<iframe src="${address}" width="720" height="460" title="A StackVM machine" ` +
    `allow="fullscreen; clipboard-write" style="border:0"></iframe>`
  );
}
