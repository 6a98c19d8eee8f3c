/** Not written yet. */
export default function Page() {
  return null;
}
